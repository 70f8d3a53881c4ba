"""Moves, resizes and means in the compiler's terms: bytes in, bytes out."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder

from n6convert.npu.ir import Lowered, Where
from n6convert.npu.placement import place, read

Build = Callable[[QdqBuilder], str | list[str]]


def _lowered(build: Build, version: tuple[int, int] = (4, 0)) -> Lowered:
    b = QdqBuilder("one", opset=17)
    made = build(b)
    for name in [made] if isinstance(made, str) else made:
        b.output(name)
    return place(read(b.model()), version)[0]


@settings(max_examples=20)
@given(height=st.integers(1, 6), width=st.integers(1, 6), by=st.tuples(st.integers(1, 4), st.integers(1, 4)))
def test_a_nearest_resize_is_copies_and_a_spread(height: int, width: int, by: tuple[int, int]) -> None:
    """Every value is copied as often as it is shown."""
    if by == (1, 1) or height * width == 1:
        return

    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, height, width))
        scales = b.constant(np.array([1, 1, *by], np.float32))
        form = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return b.op("Exp", b.op("Resize", x, b.constant(np.zeros(0, np.float32)), scales, **form))

    lowered = _lowered(build)
    concat, spread = (next(op for op in lowered.ops if op.kind == kind) for kind in ("Concat", "DepthToSpace"))
    expanded = lowered.tensors[concat.outputs[0]]
    assert expanded.shape == (1, 4 * math.prod(by), height, width)
    assert lowered.tensors[spread.outputs[0]].shape == (1, 4, height * by[0], width * by[1])
    assert expanded.elements == lowered.tensors[spread.outputs[0]].elements
    assert spread.inputs == concat.outputs


@pytest.mark.parametrize("axes", [[2, 3], [3], [1], [1, 2], [1, 3], [-1]])
def test_axes_of_a_mean_come_last(axes: list[int]) -> None:
    """A pool takes the innermost axes; others are turned there, with nothing lost."""
    lowered = _lowered(
        lambda b: b.op("Exp", b.op("ReduceMean", b.op("Exp", b.input(1, 3, 4, 5)), axes=axes, keepdims=1))
    )
    pool = next(op for op in lowered.ops if op.kind == "GlobalAveragePool")
    shape = lowered.tensors[pool.inputs[0]].shape
    wanted = sorted((1, 3, 4, 5)[axis] for axis in axes)
    assert sorted(shape[-len(axes) :]) == wanted and sorted(shape) == [1, 3, 4, 5]
    turned = [op for op in lowered.ops if op.kind == "Transpose" and op.outputs[0] == pool.inputs[0]]
    last = sorted(axis % 4 for axis in axes) == list(range(4 - len(axes), 4))
    assert bool(turned) is not last


@pytest.mark.parametrize(("version", "packed"), [((2, 2), True), ((3, 0), False)])
@pytest.mark.parametrize(("channels", "wide"), [(32, False), (64, True)])
def test_parts_of_a_split_are_packed_for_convolutions(
    channels: int, wide: bool, version: tuple[int, int], packed: bool
) -> None:
    """Up to 2.2, above 16 channels."""

    def build(b: QdqBuilder) -> list[str]:
        parts = b.ops("Split", [b.op("Exp", b.input(1, channels, 8, 8))], 2, axis=1)
        return [b.conv(part, channels // 2, 8, 3) for part in parts]

    lowered = _lowered(build, version)
    split = next(op for op in lowered.ops if op.kind == "Split")
    copies = [op for op in lowered.ops if op.inputs[0] in split.outputs and "/packed" in op.outputs[0]]
    assert len(copies) == (2 if packed and wide else 0)


def test_a_slice_of_everything_is_a_view() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Exp", b.input(1, 4, 8))
        bounds = [b.constant(np.array([value])) for value in (0, 99, 1)]
        return b.op("Exp", b.op("Slice", x, *bounds))

    (view,) = [op for op in _lowered(build).ops if op.kind == "Reshape"]
    assert view.where is Where.NONE


def test_a_split_keeps_every_element() -> None:
    def build(b: QdqBuilder) -> list[str]:
        return b.ops("Split", [b.op("Exp", b.input(1, 12, 4, 4)), b.constant(np.array([3, 4, 5]))], 3, axis=1)

    lowered = _lowered(build)
    split = next(op for op in lowered.ops if op.kind == "Split")
    assert sum(lowered.tensors[name].elements for name in split.outputs) == lowered.tensors[split.inputs[0]].elements
