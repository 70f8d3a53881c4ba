"""Geometry of windows as ONNX defines it: sizes by ONNX's own shape inference, pads by what they must add up to."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, shape_inference

from n6convert.errors import GraphError
from n6convert.npu.graph import Node
from n6convert.npu.ir import ConvGeometry
from n6convert.npu.lowering.conv_geometry import check_parts, geometry_of, map_size, row_and_column, sub_kernels


def _inferred(op: str, shape: list[int], weight: list[int], attributes: dict[str, Any]) -> list[int]:
    """The output's shape, by ONNX."""
    names = ["x", "w"] if "Conv" in op else ["x"]
    shapes = {"x": shape, "w": weight}
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shapes[n]) for n in names]
    extra: dict[str, Any] = {} if "Conv" in op else {"kernel_shape": weight[2:]}
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **extra, **attributes)], "g", values, [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    found = shape_inference.infer_shapes(model, strict_mode=True).graph.output[0].type.tensor_type.shape
    return [d.dim_value for d in found.dim]


def _geometry(
    op: str, shape: list[int], weight: list[int], result: list[int] | None = None, **attributes: Any
) -> ConvGeometry:
    groups = attributes.get("group", 1)
    made = result or _inferred(op, shape, weight, attributes)
    known = {"x": tuple(shape), "y": tuple(made)}
    lowerer: Any = SimpleNamespace(shape=known.__getitem__)
    kernel = row_and_column(weight[2:], 1)
    out = weight[1] * groups if op == "ConvTranspose" else weight[0]
    return geometry_of(lowerer, Node("layer", op, ("x", "w"), ("y",), attributes), kernel, out, groups)


@pytest.mark.parametrize("op", ["Conv", "MaxPool", "AveragePool"])
@pytest.mark.parametrize("mode", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", [[1, 1], [2, 3], [3, 2], [5, 5]])
def test_same_pads_are_what_the_output_needs(op: str, mode: str, stride: int, kernel: list[int]) -> None:
    for height, width in ((5, 7), (8, 6), (9, 12)):
        weight = [4, 4, *kernel]
        found = _geometry(op, [1, 4, height, width], weight, auto_pad=mode, strides=[stride, stride])
        for axis, size in enumerate((height, width)):
            both = found.pads[axis] + found.pads[axis + 2]
            assert found.out_hw[axis] == -(-size // stride)
            # the last window ends where the padded map ends, or there is no pad
            assert both == max((found.out_hw[axis] - 1) * stride + kernel[axis] - size, 0)
            assert 0 <= found.pads[axis + 2] - found.pads[axis] <= 1


@pytest.mark.parametrize(
    ("shape", "weight", "attributes", "expected"),
    [
        ([1, 4, 8, 6], [8, 4, 3, 3], {}, {"kernel": (3, 3), "in_hw": (8, 6), "out_hw": (6, 4), "pads": (0, 0, 0, 0)}),
        ([1, 4, 8, 6], [8, 4, 3, 3], {"pads": [1, 2, 3, 4]}, {"pads": (1, 2, 3, 4), "out_hw": (10, 10)}),
        ([1, 4, 8, 6], [8, 4, 3, 3], {"auto_pad": "VALID"}, {"pads": (0, 0, 0, 0), "out_hw": (6, 4)}),
        ([1, 4, 8, 6], [8, 2, 3, 1], {"group": 2, "strides": [2, 1]}, {"groups": 2, "group_channels": 2}),
        ([1, 4, 8, 6], [4, 1, 3, 3], {"group": 4}, {"depthwise": True, "macs": 4 * 9 * 24}),
        ([1, 4, 9, 9], [8, 4, 3, 3], {"dilations": [2, 3]}, {"dilations": (2, 3), "out_hw": (5, 3)}),
        # one axis is a row
        ([1, 4, 16], [8, 4, 5], {}, {"kernel": (1, 5), "in_hw": (1, 16), "out_hw": (1, 12), "macs": 8 * 4 * 5 * 12}),
        ([1, 4, 16], [8, 4, 5], {"pads": [1, 2], "strides": [3]}, {"pads": (0, 1, 0, 2), "strides": (1, 3)}),
        ([1, 4, 16], [8, 4, 5], {"auto_pad": "SAME_UPPER", "strides": [2]}, {"pads": (0, 1, 0, 2), "out_hw": (1, 8)}),
        ([1, 4, 16], [8, 4, 5], {"dilations": [3]}, {"dilations": (1, 3), "out_hw": (1, 4)}),
    ],
)
def test_a_geometry_says_what_onnx_says(
    shape: list[int], weight: list[int], attributes: dict[str, Any], expected: dict[str, Any]
) -> None:
    found = _geometry("Conv", shape, weight, **attributes)
    assert {name: getattr(found, name) for name in expected} == expected
    made = _inferred("Conv", shape, weight, attributes)
    assert found.out_hw == ((1, *made[2:]) if len(made) == 3 else tuple(made[2:]))


def test_a_transposed_kernel_may_be_larger_than_the_map() -> None:
    found = _geometry("ConvTranspose", [1, 4, 2, 2], [4, 6, 5, 5], strides=[2, 2])
    assert (found.in_hw, found.out_hw, found.out_channels) == ((2, 2), (7, 7), 6)


@pytest.mark.parametrize(
    ("weight", "attributes", "named"),
    [
        ([8, 4, 9, 3], {}, r"at most 8x6.*kernel \(9, 3\)"),
        ([8, 4, 3, 9], {"pads": [0, 1, 0, 1]}, r"at most 8x8.*kernel \(3, 9\)"),
        ([8, 4, 3, 3], {"strides": [0, 1]}, r"strides \(0, 1\)"),
        ([8, 4, 3, 3], {"dilations": [1, -1]}, r"dilations \(1, -1\)"),
        ([8, 4, 0, 3], {}, r"kernel \(0, 3\)"),
        ([0, 4, 3, 3], {}, "kernel"),
    ],
)
def test_a_kernel_that_does_not_fit_is_named_with_its_layer(
    weight: list[int], attributes: dict[str, Any], named: str
) -> None:
    with pytest.raises(GraphError, match=f"(?s)does not fit.*layer.*{named}"):
        _geometry("Conv", [1, 4, 8, 6], weight, [1, 8, 4, 4], **attributes)


@pytest.mark.parametrize(
    ("shape", "result"), [([4, 8], [4, 8]), ([1, 4, 8, 8, 8], [1, 8, 6, 6, 6]), ([1, 4, 8], [1, 8])]
)
def test_other_ranks_are_refused_with_the_way_out(shape: list[int], result: list[int]) -> None:
    with pytest.raises(GraphError, match=r"(?s)1-D and 2-D.*layer.*n6convert rewrite"):
        _geometry("Conv", shape, [8, 4, 3, 3], result)


@pytest.mark.parametrize(
    ("values", "expected"), [(None, (7, 7)), ([], (7, 7)), ([3], (1, 3)), ([2, 3], (2, 3)), ([2, 3, 4], (2, 4))]
)
def test_attributes_of_one_axis_belong_to_columns(values: list[int] | None, expected: tuple[int, int]) -> None:
    assert row_and_column(values, 7) == expected


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((5,), (1, 1)),
        ((1, 5), (1, 1)),
        ((1, 5, 7), (1, 7)),
        ((1, 5, 7, 2), (7, 2)),
        ((1, 5, 7, 2, 3), (7, 6)),
    ],
)
def test_maps_are_what_follows_the_channels(shape: tuple[int, ...], expected: tuple[int, int]) -> None:
    assert map_size(shape) == expected
    assert np.prod(expected) == np.prod(shape[2:], dtype=int)


@pytest.mark.parametrize("height", [1, 3, 4, 7, 12])
@pytest.mark.parametrize("width", [1, 3, 4, 6, 7, 13])
@pytest.mark.parametrize("stride", [1, 2])
def test_native_kernels_cover_a_large_one_and_none_is_idle(height: int, width: int, stride: int) -> None:
    rows, columns = sub_kernels(ConvGeometry(8, 8, (height, width), strides=(1, stride)))
    smaller = sub_kernels(ConvGeometry(8, 8, (max(height - 1, 1), max(width - 1, 1)), strides=(1, stride)))
    assert (rows, columns) >= (1, 1) and rows >= smaller[0] and columns >= smaller[1]
    assert rows * 3 >= height and (rows - 1) * 3 < height  # [#geometry]: three rows
    native = {1: 6, 2: 12}[stride]
    assert columns * native >= width and (columns - 1) * native < width


def test_more_parts_than_a_network_has_are_refused() -> None:
    node = Node("huge", "Conv", (), ())
    check_parts(node, 1024)
    with pytest.raises(GraphError, match=r"(?s)too large.*huge.*1024 native kernels.*1025.*smaller kernels"):
        check_parts(node, 1025)
