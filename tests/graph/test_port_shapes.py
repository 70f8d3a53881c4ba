from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, shape_inference

from n6convert.graph.port_shapes import fit_ports, same_bytes
from n6convert.runtime.session import run_model


def frames() -> ir.Model:
    """A pool over depth: [1, 3, 4, 8, 8] in, [1, 3, 2, 4, 4] out."""
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", [1, 3, 4, 8, 8]), ("y", None))]
    pool = helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2, 2], strides=[2, 2, 2])
    graph = helper.make_graph([pool], "frames", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_proto(shape_inference.infer_shapes(model))


def test_frames_lie_among_the_channels() -> None:
    model = frames()
    x = np.random.default_rng(0).standard_normal((1, 3, 4, 8, 8)).astype(np.float32)
    before = run_model(model, {"x": x})["y"]
    fit_ports(model)
    assert [tuple(v.shape or ()) for v in (*model.graph.inputs, *model.graph.outputs)] == [(1, 12, 8, 8), (1, 6, 4, 4)]
    assert np.array_equal(run_model(model, {"x": x.reshape(1, 12, 8, 8)})["y"], before.reshape(1, 6, 4, 4))


@pytest.mark.parametrize(
    ("shape", "other", "same"),
    [
        ((6, 1, 10), (1, 6, 10), True),
        ((3, 4, 8, 8), (12, 8, 8), True),
        ((1, 3, 1, 8, 8), (3, 8, 8), True),
        ((8, 8, 3), (3, 8, 8), False),
        ((64, 3), (3, 8, 8), False),
        ((4, 3), (12, 2), False),
        ((), (1, 1), True),
    ],
)
def test_shapes_of_the_same_bytes(shape: tuple[int, ...], other: tuple[int, ...], same: bool) -> None:
    assert same_bytes(shape, other) is same_bytes(other, shape) is same
