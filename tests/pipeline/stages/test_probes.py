"""Intermediate tensors made visible: the same values, the outputs as before, the model untouched."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.pipeline.stages.probes import exposing
from n6convert.runtime.session import run_model

TEXT = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y)
{ a = Exp (x)  b, c = Split <axis = 1> (a)  d = Concat <axis = 1> (c, b)  y = Sqrt (d) }"""


@pytest.mark.parametrize(
    ("names", "outputs"),
    [([], ["y"]), (["a"], ["y", "a"]), (["c", "a"], ["y", "a", "c"]), (["y", "a"], ["y", "a"]), (["no", "x"], ["y"]),
     (["b", "b"], ["y", "b"])],
)  # fmt: skip
def test_each_name_once_behind_the_graphs_own(names: list[str], outputs: list[str]) -> None:
    model = ir.from_onnx_text(TEXT)
    before = ir.to_proto(model).SerializeToString()
    seen = exposing(model, names)
    assert [value.name for value in seen.graph.outputs] == outputs
    assert ir.to_proto(model).SerializeToString() == before


def test_values_are_those_inside() -> None:
    x = np.array([[0.0, 1.0, 2.0, 3.0]], np.float32)
    found = run_model(exposing(ir.from_onnx_text(TEXT), ["a", "c", "d"]), {"x": x})
    np.testing.assert_allclose(found["a"], np.exp(x), rtol=1e-6)
    np.testing.assert_array_equal(found["c"], found["a"][:, 2:])
    np.testing.assert_allclose(found["y"], np.sqrt(found["d"]), rtol=1e-6)
