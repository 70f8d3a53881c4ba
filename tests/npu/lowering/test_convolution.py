"""Convolutions, pools and pads in native pieces: multiplications, shapes and parts counted by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder

from n6convert.errors import GraphError
from n6convert.npu.ir import Lowered, Op, Units, Where
from n6convert.npu.placement import place, read

Build = Callable[[QdqBuilder], str]
Shape = tuple[int, ...]


def _lowered(build: Build, version: tuple[int, int] = (4, 0)) -> Lowered:
    b = QdqBuilder("one", opset=18)
    b.output(build(b))
    return place(read(b.model()), version)[0]


def _conv(shape: Shape, weights: Shape, version: tuple[int, int] = (4, 0), **attributes: object) -> Lowered:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(*shape))
        return b.op("Exp", b.op("Conv", x, b.weight(*weights), kernel_shape=list(weights[2:]), **attributes))

    return _lowered(build, version)


def _convs(lowered: Lowered) -> list[Op]:
    return [op for op in lowered.ops if op.kind == "Conv"]


@settings(max_examples=25)
@given(
    height=st.integers(4, 12), width=st.integers(4, 12), kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.sampled_from([1, 2]), pads=st.tuples(*(st.integers(0, 1) for _ in range(4))),
    groups=st.sampled_from([1, 2, 4]),
)  # fmt: skip
def test_multiplications_are_those_of_the_definition(
    height: int, width: int, kernel: tuple[int, int], stride: int, pads: tuple[int, ...], groups: int
) -> None:
    lowered = _conv(
        (1, 4, height, width), (8, 4 // groups, *kernel), strides=[stride, stride], pads=list(pads), group=groups
    )
    rows = (height + pads[0] + pads[2] - kernel[0]) // stride + 1
    columns = (width + pads[1] + pads[3] - kernel[1]) // stride + 1
    assert sum(op.macs for op in _convs(lowered)) == 8 * rows * columns * (4 // groups) * math.prod(kernel)
    geometry = _convs(lowered)[0].conv
    assert geometry is not None and geometry.out_hw == (rows, columns) and geometry.pads == pads


@pytest.mark.parametrize(
    ("auto", "pads"), [("SAME_UPPER", (0, 0, 1, 1)), ("VALID", (0, 0, 0, 0)), ("NOTSET", (0, 0, 0, 0))]
)
def test_automatic_pads_are_worked_out(auto: str, pads: Shape) -> None:
    (conv,) = _convs(_conv((1, 4, 8, 8), (8, 4, 3, 3), strides=[2, 2], auto_pad=auto))
    assert conv.conv is not None and conv.conv.pads == pads


def test_one_dimension_is_one_row() -> None:
    (conv,) = _convs(_conv((1, 4, 20), (8, 4, 3), pads=[1, 1], strides=[2]))
    assert conv.conv is not None
    assert (conv.conv.kernel, conv.conv.strides, conv.conv.pads) == ((1, 3), (1, 2), (0, 1, 0, 1))
    assert (conv.conv.in_hw, conv.conv.out_hw) == ((1, 20), (1, 10))


@pytest.mark.parametrize("dilation", [(2, 2), (1, 3), (3, 1), (4, 2)])
def test_a_dilation_becomes_maps_of_their_own(dilation: tuple[int, int]) -> None:
    """Every d-th row and column; values are only moved, but for what fills up the last row."""
    rows, columns = dilation
    lowered = _conv((1, 4, 12, 12), (8, 4, 3, 3), dilations=list(dilation), pads=[rows, columns, rows, columns])
    gather, conv, spread = (
        next(op for op in lowered.ops if op.kind == k) for k in ("SpaceToDepth", "Conv", "DepthToSpace")
    )
    assert lowered.tensors[gather.outputs[0]].shape == (1, 4 * rows * columns, 12 // rows, 12 // columns)
    assert conv.conv is not None and conv.conv.dilations == (1, 1)
    assert lowered.tensors[spread.outputs[0]].shape == (1, 8, 12, 12)
    assert conv.macs == 8 * 144 * 4 * 9


@pytest.mark.parametrize(
    ("kernel", "sums"), [((3, 3), 0), ((3, 6), 0), ((5, 5), 0), ((6, 6), 0), ((7, 7), 3), ((7, 6), 1), ((9, 9), 4)]
)
def test_large_kernels_are_summed_in_parts(kernel: tuple[int, int], sums: int) -> None:
    """Native are three rows and six columns; one or two parts share an epoch, more hand on maps that are added."""
    lowered = _conv((1, 4, 16, 16), (8, 4, *kernel), pads=[kernel[0] // 2, kernel[1] // 2] * 2)
    added = [op for op in lowered.ops if op.kind == "Add"]
    parts = math.ceil(kernel[0] / 3) * math.ceil(kernel[1] / 6)
    assert bool(added) is (parts > 2) and bool(sums) is (parts > 2)
    inner = {name for op in _convs(lowered) for name in op.outputs}
    if parts > 2:
        assert {lowered.tensors[name].dtype for name in inner} == {"int16"}
        assert inner <= {name for op in added for name in op.inputs} | set().union(
            *(op.attributes["spare"] for op in added)
        )


@pytest.mark.parametrize(("stride", "names"), [(1, ["Conv"]), (2, ["Concat", "DepthToSpace", "Conv", "Conv"])])
def test_a_transposed_convolution_stuffs_zeros_where_it_strides(stride: int, names: list[str]) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, 5, 6))
        y = b.op("ConvTranspose", x, b.weight(4, 8, 3, 3), kernel_shape=[3, 3], strides=[stride, stride])
        return b.op("Exp", y)

    lowered = _lowered(build)
    made = [op for op in lowered.ops if op.attributes.get("operator") == "ConvTranspose"]
    assert [op.kind for op in made] == names
    assert stride == 1 or made[2].units == Units(conv=1, arith=1), "cutting the rest off is a copy"
    shape = lowered.tensors[made[-1].outputs[0]].shape
    assert shape == (1, 8, 4 * stride + 3, 5 * stride + 3)
    assert made[-1].macs == 4 * 8 * 9 * math.prod(shape[2:])


@pytest.mark.parametrize(("window", "pools"), [(2, 1), (3, 1), (4, 2), (5, 2), (7, 3), (9, 4)])
def test_large_windows_are_chains_of_native_ones(window: int, pools: int) -> None:
    """A 3x3 window behind a 3x3 window sees 5x5."""

    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, 12, 12))
        pads = [(window - 1) // 2, (window - 1) // 2, window // 2, window // 2]
        return b.op("Exp", b.op("MaxPool", x, kernel_shape=[window] * 2, pads=pads, strides=[1, 1]))

    found = [op for op in _lowered(build).ops if op.kind == "MaxPool"]
    assert len(found) == pools and {op.units for op in found} == {Units(pool=1)}
    if pools > 1:
        assert {op.attributes["window"] for op in found} == {(3, 3)}
        assert 2 * pools + 1 >= window > 2 * (pools - 1) + 1


@pytest.mark.parametrize(
    ("shape", "weights", "attributes", "words"),
    [
        ((1, 4, 2, 9), (8, 4, 3, 3), {}, "does not fit its input"), ((1, 4, 9, 9), (8, 3, 3, 3), {}, "do not fit"),
        ((1, 4, 9, 9), (8, 4, 3, 3), {"group": 2}, "do not fit"),
    ],
)  # fmt: skip
def test_layers_that_cannot_be(shape: Shape, weights: Shape, attributes: dict[str, int], words: str) -> None:
    from n6convert.npu.graph import Graph, Node
    from n6convert.npu.ir import Tensor
    from n6convert.npu.lowering.convolution import _conv as lower
    from n6convert.npu.lowering.core import Lowerer

    tensors = {"x": Tensor("x", shape, "int8", 0.1, 0), "y": Tensor("y", (1, 8, 7, 7), "int8", 0.1, 0),
               "w": Tensor("w", weights, "int8", 0.1, 0, constant=True)}  # fmt: skip
    node = Node("c", "Conv", ("x", "w"), ("y",), {"kernel_shape": [3, 3], **attributes})
    with pytest.raises(GraphError, match=words) as caught:
        lower(Lowerer(Graph("g", [node], tensors, {}, ("x",), ("y",)), (4, 0)), node)
    assert caught.value.place == "c" and caught.value.limit


def test_pads_of_channels_go_around_by_rows() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 6, 4, 5))
        return b.op("Exp", b.op("Pad", x, b.constant(np.array([0, 0, 0, 0, 0, 3, 0, 0]))))

    made = [op for op in _lowered(build).ops if op.attributes.get("operator") == "Pad"]
    assert [op.kind for op in made] == ["Transpose", "Conv", "Transpose"]
    assert made[1].conv is not None and (made[1].conv.in_hw, made[1].conv.out_hw) == ((6, 5), (9, 5))
    assert made[1].units == Units(conv=1, arith=1)
    assert made[1].where is Where.HW and made[1].macs == 1, "a copy is no multiplication of the network"
