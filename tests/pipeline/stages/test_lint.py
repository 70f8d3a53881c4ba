"""What lint refuses, and when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import n6convert
from n6convert.errors import LintError

HEAD = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1,8,8,8] x, float[8,8,1,1] w, float[1] size) => (float[1,16,64] y) {
  a = Conv(x, w)
  boxes = Mul(a, size)
  scores = Sigmoid(a)
  joined = Concat <axis = 1> (boxes, scores)
  shape = Constant <value_ints = [1, 16, 64]> ()
  y = Reshape(joined, shape)
}"""


#: a map's local maxima, as heads of points find them in the network itself
PEAKS = """<ir_version: 8, opset_import: ["" : 17]>
net (float[1,8,8,8] x, float[8,8,1,1] w) => (float[1,8,8,8] y, float[1,8,8,8] sizes) {
  heat = Conv(x, w)
  sizes = Sigmoid(heat)
  highest = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (heat)
  same = Equal(highest, heat)
  mask = Cast <to = 1> (same)
  y = Mul(heat, mask)
}"""


def written(text: str, folder: Path) -> Path:
    """The network and samples for it."""
    model, rng = ir.from_onnx_text(text), np.random.default_rng(0)
    constants = rng.standard_normal((8, 8, 1, 1)), np.array([640])
    for value, array in zip(list(model.graph.inputs)[1:], constants, strict=False):
        model.graph.inputs.remove(value)
        value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
        model.graph.register_initializer(value)
    ir.save(model, folder / "net.onnx")
    for i in range(24):
        np.save(folder / f"{i}.npy", rng.standard_normal((1, 8, 8, 8)).astype(np.float32))
    return folder / "net.onnx"


def test_joined_outputs_are_refused_before_any_method_is_tried(tmp_path: Path) -> None:
    path = written(HEAD, tmp_path)
    said: list[str] = []
    with pytest.raises(LintError, match="mixed-scales") as caught:
        n6convert.convert(
            path, calibration=tmp_path, settings={"options.samples": "arrays"},
            progress=lambda what, done, total: said.append(what),
        )  # fmt: skip
    assert "options.outputs=[boxes,scores]" in str(caught.value.remedy)
    assert "quantize: calibration" in said and "quantize: refining layers" not in said


def test_truth_values_are_refused_before_any_method_is_tried_and_the_way_out_converts(tmp_path: Path) -> None:
    path, settings = written(PEAKS, tmp_path), {"options.samples": "arrays", "quantization.effort": "fast"}
    said: list[str] = []
    with pytest.raises(LintError, match="bool-tensors") as caught:
        n6convert.convert(
            path, calibration=tmp_path, settings={"options.samples": "arrays"},
            progress=lambda what, done, total: said.append(what),
        )  # fmt: skip
    assert "options.outputs=[sizes,highest,heat]" in str(caught.value.remedy)
    assert "quantize: refining layers" not in said
    outputs = ["sizes", "highest", "heat"]
    result = n6convert.convert(
        path, calibration=tmp_path, settings={**settings, "options.outputs": outputs}, output=tmp_path / "out"
    )
    assert set(result.report.quantization.outputs_sqnr_db) == set(outputs)
