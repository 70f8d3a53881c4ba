"""Borders of the rules of moves: permutations, joins, slices, resizes, pads, casts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest

from n6convert.npu.ir import Tensor, Where
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import VERSIONS
from n6convert.npu.rules.movement import squeezed

Placed = Callable[..., Rule]


def _permuted(shape: tuple[int, ...], perm: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in perm)


def _moves_bytes(shape: tuple[int, ...], perm: tuple[int, ...]) -> bool:
    """Whether a permutation changes the order of the elements in memory, tried on their numbers."""
    numbers = np.arange(np.prod(shape)).reshape(shape)
    return not np.array_equal(numbers.transpose(perm).ravel(), numbers.ravel())


@pytest.mark.parametrize("shape", [(1, 3, 4, 5), (1, 3, 1, 5), (1, 1, 4, 5), (2, 3, 4), (1, 3, 4), (1, 1, 4, 1)])
def test_a_transpose_is_work_where_it_moves_bytes(shape: tuple[int, ...], placed: Placed) -> None:
    for perm in itertools.permutations(range(len(shape))):
        rule = placed("Transpose", [shape], _permuted(shape, perm), perm=list(perm))
        assert (rule.where is Where.NONE) is not _moves_bytes(shape, perm), perm


@pytest.mark.parametrize("version", VERSIONS)
def test_permutations_that_the_dma_does(version: tuple[int, int], placed: Placed) -> None:
    """The channel between first and last place; every other one is the M55's, from 3.0 on with the DMA."""
    shape = (1, 3, 4, 5)
    found = {}
    for perm in itertools.permutations((1, 2, 3)):
        whole = (0, *perm)
        found[whole] = placed("Transpose", [shape], _permuted(shape, whole), perm=list(whole), version=version).where
    other = Where.SW if version < (3, 0) else Where.HYBRID
    assert found == {
        (0, 1, 2, 3): Where.NONE, (0, 2, 3, 1): Where.HW, (0, 3, 1, 2): Where.HW,
        (0, 1, 3, 2): other, (0, 2, 1, 3): other, (0, 3, 2, 1): other,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "perm", "left"),
    [
        ((1, 8, 1, 5), (0, 2, 3, 1), (0, 2, 1)), ((1, 8, 1, 5), (0, 3, 2, 1), (0, 2, 1)),
        ((1, 8, 2, 5), (0, 2, 3, 1), (0, 2, 3, 1)), ((1, 8, 5, 1), (0, 3, 2, 1), (0, 3, 2, 1)),
        ((4, 5), (1, 0), (1, 0)),
    ],
)  # fmt: skip
def test_maps_of_one_row_lose_it(shape: tuple[int, ...], perm: tuple[int, ...], left: tuple[int, ...]) -> None:
    assert squeezed(shape, perm) == left


def test_a_map_of_one_row_is_turned_like_a_sequence(placed: Placed) -> None:
    """(0,3,2,1) of [1, 8, 1, 5] is (0,2,1) of [1, 8, 5]; of two rows it is software."""
    for rows, where in ((1, Where.HW), (2, Where.SW)):
        rule = placed("Transpose", [(1, 8, rows, 5)], (1, 5, rows, 8), perm=[0, 3, 2, 1], version=(2, 1))
        assert rule.where is where


def test_float_networks_turn_on_the_cpu(placed: Placed) -> None:
    rule = placed("Transpose", [(1, 3, 4, 5)], (1, 4, 5, 3), perm=[0, 2, 3, 1], style="float")
    assert rule.where is Where.SW and rule.float


# Concat ---------------------------------------------------------------------------------------------------------------


def _joined(
    placed: Placed, sizes: list[int], side: int = 16, version: tuple[int, int] = (4, 0), **known: object
) -> Rule:
    shapes = [(1, size, side, side) for size in sizes]
    return placed("Concat", shapes, (1, sum(sizes), side, side), version=version, axis=1, known=known)


@pytest.mark.parametrize("version", VERSIONS)
def test_equal_parts_are_joined_by_the_dma(version: tuple[int, int], placed: Placed) -> None:
    assert _joined(placed, [12, 12, 12], version=version).where is Where.HW


@pytest.mark.parametrize(
    ("sizes", "side", "where"),
    [
        ([32, 64], 16, Where.HW), ([32, 48], 16, Where.HYBRID), ([16, 32], 16, Where.HYBRID),
        ([64, 96], 16, Where.HYBRID), ([32, 64], 8, Where.HYBRID), ([32, 64], 9, Where.HW),
        ([64, 32, 128], 16, Where.HW),
    ],
)  # fmt: skip
def test_unequal_parts_on_core_4(sizes: list[int], side: int, where: Where, placed: Placed) -> None:
    """Multiples of the smallest and of 32, on maps wider than 8."""
    assert _joined(placed, sizes, side).where is where
    assert _joined(placed, sizes, side, (2, 2)).where is Where.SW


def test_parts_that_software_writes_are_not_joined_by_the_npu(placed: Placed) -> None:
    assert _joined(placed, [32, 64], written_by_sw=frozenset({"x1"})).where is Where.HYBRID


@pytest.mark.parametrize(("version", "where"), [((2, 1), Where.SW), ((3, 0), Where.NONE)])
def test_a_concat_that_leaves_the_network(version: tuple[int, int], where: Where, placed: Placed) -> None:
    assert _joined(placed, [5, 7], version=version, final=frozenset({"y"})).where is where
    software = _joined(placed, [5, 7], version=version, final=frozenset({"y"}), written_by_sw=frozenset({"x0"}))
    assert software.where is (Where.SW if version < (3, 0) else Where.HYBRID)


@pytest.mark.parametrize(
    ("shapes", "axis", "where"),
    [([(1, 3, 8), (1, 5, 8)], 1, Where.HW), ([(1, 3, 8), (1, 3, 5)], 2, Where.HYBRID), ([(3, 8), (5, 8)], 0, Where.HW),
     ([(1, 3, 4, 8), (1, 3, 4, 5)], -1, Where.HYBRID)],
)  # fmt: skip
def test_the_outermost_axis_is_free_of_the_cpu(
    shapes: list[tuple[int, ...]], axis: int, where: Where, placed: Placed
) -> None:
    output = np.concatenate([np.zeros(s) for s in shapes], axis).shape
    assert placed("Concat", shapes, output, axis=axis).where is where


# Split and Slice ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["Split", "Slice"])
@pytest.mark.parametrize(
    ("before", "after", "fate"),
    [
        ((1, 8, 4, 4), (1, 8, 4, 4), "nothing"), ((1, 8, 4, 4), (1, 4, 4, 4), "npu"),
        ((1, 8, 4, 4), (1, 8, 2, 4), "inner"),
        ((1, 8, 4, 4), (1, 8, 4, 2), "inner"), ((8, 4), (2, 4), "npu"), ((1, 1, 8, 4), (1, 1, 2, 4), "npu"),
        ((2, 8), (2, 4), "inner"), ((2, 8, 4, 4), (2, 4, 4, 4), "npu"), ((1, 8), (1, 4), "npu"),
    ],
)  # fmt: skip
def test_slices(op: str, before: tuple[int, ...], after: tuple[int, ...], fate: str, placed: Placed) -> None:
    for version in VERSIONS:
        inner = Where.SW if version < (3, 0) else Where.HYBRID
        wanted = {"nothing": Where.NONE, "npu": Where.HW, "inner": inner}[fate]
        assert placed(op, [before], after, version=version).where is wanted, version


def test_a_split_behind_a_software_softmax(placed: Placed) -> None:
    known = {"stored_channel_last": frozenset({"x0"})}
    for version, where in (((2, 2), Where.SW), ((4, 0), Where.HYBRID)):
        assert placed("Split", [(1, 8, 4, 4)], (1, 4, 4, 4), version=version, known=known).where is where
    assert placed("Slice", [(1, 8, 4, 4)], (1, 4, 4, 4), known=known).where is Where.HW


# Resize, Pad, Cast ----------------------------------------------------------------------------------------------------

_NATIVE = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize(
    ("after", "change", "where"),
    [
        ((1, 8, 8, 8), {}, Where.HW), ((1, 8, 12, 4), {}, Where.HW), ((1, 8, 6, 8), {}, Where.SW),
        ((1, 8, 2, 2), {}, Where.SW), ((1, 8, 8, 8), {"mode": "linear"}, Where.SW),
        ((1, 8, 8, 8), {"nearest_mode": "round_prefer_floor"}, Where.SW),
        ((1, 8, 8, 8), {"coordinate_transformation_mode": "half_pixel"}, Where.SW),
    ],
)  # fmt: skip
def test_only_copies_of_whole_pixels_are_native(
    after: tuple[int, ...], change: dict[str, str], where: Where, placed: Placed
) -> None:
    assert placed("Resize", [(1, 8, 4, 4)], after, **_NATIVE | change).where is where


def test_a_resize_without_attributes_has_those_of_onnx(placed: Placed) -> None:
    assert placed("Resize", [(1, 8, 4, 4)], (1, 8, 8, 8)).where is Where.SW


@pytest.mark.parametrize(
    ("after", "mode", "name"),
    [((1, 8, 6, 4), "constant", "pad-spatial"), ((1, 9, 4, 4), "constant", "pad-channels"),
     ((1, 8, 6, 4), "edge", "pad-of-border"), ((1, 8, 6, 4), "reflect", "pad-of-border")],
)  # fmt: skip
def test_pads(after: tuple[int, ...], mode: str, name: str, placed: Placed) -> None:
    assert placed("Pad", [(1, 8, 4, 4)], after, mode=mode).name == name


@pytest.mark.parametrize(
    ("source", "result", "where"),
    [
        ("int8", "uint8", Where.HW),
        ("bool", "int8", Where.HW),
        ("int8", "int32", Where.SW),
        ("float32", "int8", Where.SW),
    ],
)
def test_casts_of_single_bytes(source: str, result: str, where: Where, placed: Placed) -> None:
    shape = (1, 8, 4, 4)
    change = {"x0": Tensor("x0", shape, source, 0.1, 0), "y": Tensor("y", shape, result, 0.1, 0)}
    assert placed("Cast", [shape], shape, change=change).where is where


@pytest.mark.parametrize("op", ["GlobalAveragePool", "ReduceMean"])
@pytest.mark.parametrize("version", [v for v in VERSIONS if v > (2, 0)])
def test_a_mean_of_a_gate(op: str, version: tuple[int, int], placed: Placed) -> None:
    gate = placed(op, [(1, 8, 4, 4)], (1, 8, 1, 1), version=version, gate=True, axes=[2, 3])
    plain = placed(op, [(1, 8, 4, 4)], (1, 8, 1, 1), version=version, axes=[2, 3])
    assert gate.where is (Where.SW if version < (4, 0) else Where.HW) and plain.where is Where.HW
