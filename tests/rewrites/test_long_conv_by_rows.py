from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import n6convert
from n6convert.graph.query import shape_of

from .graphs import GraphWriter
from .helpers import apply, ops, reasons

RULE = "long-conv-by-rows"


def waveform(size: int, kernel: int, axes: int = 1, pad: tuple[int, int] = (0, 0), **attributes: Any) -> ir.Model:
    """A Conv over a signal, its long axis the last of three or four, and a pool behind it."""
    g = GraphWriter()
    ones = [1] * axes
    x = g.input("x", [*ones, 1, size])
    if any(pad):
        zeros = [0] * (axes + 1)
        x = g.node("Pad", x, g.constant([*zeros, pad[0], *zeros, pad[1]], np.int64))
    weight = g.constant(g.random.standard_normal([4, 1, *ones[1:], kernel]) / np.sqrt(kernel))
    return g.model(g.node("GlobalMaxPool", g.node("Relu", g.node("Conv", x, weight, g.vector(4), **attributes))))


@pytest.mark.parametrize(
    ("size", "kernel", "attributes"),
    [
        (80_000, 80, {"strides": [4]}),
        (80_000, 80, {"strides": [16], "pads": [38, 38]}),
        (80_000, 10, {"strides": [5], "pads": [3, 4]}),
        (80_000, 7, {"strides": [8]}),
        (66_000, 9, {"strides": [4], "dilations": [3], "pads": [5, 0]}),
        (80_000, 11, {"strides": [4], "auto_pad": "SAME_UPPER"}),
        (80_000, 12, {"strides": [5], "auto_pad": "SAME_LOWER"}),
        (65_536, 2, {"strides": [2]}),
    ],
)
def test_a_waveform_lies_in_rows(size: int, kernel: int, attributes: dict[str, Any]) -> None:
    result = apply(waveform(size, kernel, **attributes), RULE)
    conv = next(n for n in result.model.graph if n.op_type == "Conv")
    assert max(shape_of(conv.inputs[0]) or ()) < 65_536 and not conv.attributes.get_ints("strides", ())


def test_a_signal_written_as_an_image_of_one_row() -> None:
    result = apply(waveform(80_000, 16, axes=2, strides=[1, 4], pads=[0, 2, 0, 2]), RULE)
    assert RULE in {a.rule for a in result.applied}


def test_zeros_that_a_pad_adds_are_those_of_the_conv() -> None:
    result = apply(waveform(80_000, 80, pad=(38, 40), strides=[4], pads=[2, 0]), RULE)
    assert "Pad" not in ops(result.model)


@pytest.mark.parametrize(
    ("size", "stride", "why"), [(80_001, 4, "give the network 80004 samples"), (80_000, 1, "an axis of 79991")]
)
def test_what_does_not_fit_is_refused_with_the_way_out(size: int, stride: int, why: str) -> None:
    assert why in reasons(apply(waveform(size, 10, strides=[stride]), RULE), RULE)


def test_a_raw_audio_network_converts(tmp_path: Path) -> None:
    ir.save(waveform(80_000, 80, strides=[4], pads=[40, 36]), tmp_path / "m.onnx")
    signal = np.random.default_rng(0).standard_normal((16, 1, 80_000)).astype(np.float32)
    np.save(tmp_path / "s.npy", signal)
    result = n6convert.convert(
        tmp_path / "m.onnx", output=tmp_path / "out", cache=False,
        settings={"calibration.source": str(tmp_path / "s.npy"), "simplify.onnxsim": False},
    )  # fmt: skip
    assert shape_of(ir.load(result.model_path).graph.inputs[0]) == (1, 1, 20000, 4)
    assert result.report.placement is not None and result.report.placement.after["epochs"]["sw"] == 0
    assert (next(iter(result.report.sqnr_db.values())) or 0) > 35
