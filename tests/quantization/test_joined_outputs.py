"""Outputs that join pixels with probabilities are told, with what is left to the smaller part and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from n6convert.quantization import QuantizationConfig, quantize

from .nets import feeds, parse

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")


def detector(scale: float) -> ir.Model:
    """Boxes times a scale, moved about, beside probabilities, in one output."""
    rng = np.random.default_rng(0)
    body = """net (float[1,3,8,8] x) => (float[1,64,6] rows) {
      b = Conv(x, w1) c = Conv(x, w2) s = Constant<value_float=SCALE>()
      m = Mul(b, s) p = Sigmoid(c) near = Relu(m) far = Neg(m)
      boxes = Concat<axis=1>(near, far) all = Concat<axis=1>(boxes, p)
      shape = Constant<value_ints=[1,6,64]>() flat = Reshape(all, shape) rows = Transpose<perm=[0,2,1]>(flat) }"""
    weights = {f"w{i}": rng.standard_normal((2, 3, 1, 1)).astype(np.float32) for i in (1, 2)}
    return parse(body.replace("SCALE", str(scale)), **weights)


def test_pixels_with_probabilities() -> None:
    facts = quantize(detector(100.0), feeds((1, 3, 8, 8)), PLAIN).facts
    (text,) = facts["warnings"]
    assert "output rows joins" in text and "are left to p (0 to 1)" in text and "outputs of their own" in text


@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_parts_of_one_size_are_no_matter(scale: float) -> None:
    assert quantize(detector(scale), feeds((1, 3, 8, 8)), PLAIN).facts["warnings"] == []


def test_the_command_line_says_so(tmp_path: Path) -> None:
    from n6convert.cli import app

    onnx.save(ir.to_proto(detector(100.0)), tmp_path / "net.onnx")
    arguments = ["quantize", str(tmp_path / "net.onnx"), "--samples", "4", "--set", "options.range=0..1"]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "joins parts" in " ".join(shown.output.split())
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert len(facts["warnings"]) == 1
