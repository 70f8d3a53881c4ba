"""Borders of the rules of sums, products and activations, by how their operands repeat."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from n6convert.npu.ir import Tensor, Where
from n6convert.npu.rules import Rule
from n6convert.npu.rules.limits import VERSIONS

Placed = Callable[..., Rule]
MAP = (1, 8, 4, 6)


@st.composite
def _operands(draw: st.DrawFn) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Two shapes that numpy broadcasts."""
    sizes = draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    pair = []
    for _ in range(2):
        kept = draw(st.integers(0, len(sizes)))
        pair.append(tuple(draw(st.sampled_from([1, n])) for n in sizes[len(sizes) - kept :]))
    return pair[0], pair[1]


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operands=_operands(), op=st.sampled_from(["Add", "Mul", "Sub"]))
def test_an_operand_may_repeat_and_two_may_not(
    operands: tuple[tuple[int, ...], tuple[int, ...]], op: str, placed: Placed
) -> None:
    """Seen 12 of 12 each way: with two that repeat, or a difference whose first one does, the M55 computes."""
    output = np.broadcast_shapes(*operands)
    rule = placed(op, list(operands), output)
    repeats = [np.prod(shape, dtype=int) not in (1, np.prod(output, dtype=int)) for shape in operands]
    scalar_first = np.prod(operands[0], dtype=int) == 1 < np.prod(output, dtype=int)
    if all(repeats):
        assert rule.name == "both-operands-repeat"
    elif op == "Sub" and (repeats[0] or scalar_first):
        assert rule.name == "repeated-operand-minus-tensor"
    else:
        assert rule.where is Where.HW
    assert not rule.float


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize("shapes", [(MAP, (1, 8, 1, 1)), (MAP, ()), ((1, 8, 1, 1), (1, 1, 4, 6))])
def test_sums_and_products_do_not_mind_the_order(op: str, shapes: tuple[tuple[int, ...], ...], placed: Placed) -> None:
    names = {placed(op, list(order), MAP).name for order in itertools.permutations(shapes)}
    assert len(names) == 1


@pytest.mark.parametrize(("rank", "where"), [(4, Where.HW), (5, Where.SW)])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Sum"])
def test_rank_of_elementwise_operators(op: str, rank: int, where: Where, placed: Placed) -> None:
    shape = (1,) * (rank - 2) + (3, 4)
    rule = placed(op, [shape, shape], shape)
    assert rule.where is where and (rule.name == "elementwise-rank") is (rank == 5)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("channels", "side", "constant", "vector"),
    [(512, 7, (1, 512, 1, 1), False), (513, 7, (1, 513, 1, 1), True), (513, 1, (1, 513, 1, 1), False),
     (513, 7, (1, 1, 1, 1), False), (513, 7, (1, 513, 7, 7), False)],
)  # fmt: skip
def test_a_constant_of_many_channels(
    channels: int, side: int, constant: tuple[int, ...], vector: bool, version: tuple[int, int], placed: Placed
) -> None:
    """512 values lie in the unit; more only matter where they repeat over a map, and before core 4."""
    shape = (1, channels, side, side)
    rule = placed("Mul", [shape], shape, [constant], version=version)
    assert (rule.name == "constant-of-many-channels") is (vector and version < (4, 0))


@pytest.mark.parametrize(("constant", "where"), [(True, Where.HW), (False, Where.SW)])
def test_a_divisor(constant: bool, where: Where, placed: Placed) -> None:
    rule = placed("Div", [MAP] if constant else [MAP, MAP], MAP, [MAP] if constant else None)
    assert rule.where is where and not rule.float


@pytest.mark.parametrize(("zero", "where"), [(0, Where.HW), (-128, Where.SW), (1, Where.SW), (None, Where.HW)])
def test_abs_needs_a_symmetric_grid(zero: int | None, where: Where, placed: Placed) -> None:
    rule = placed("Abs", [MAP], MAP, change={"x0": Tensor("x0", MAP, "int8", 0.1, zero)})
    assert rule.where is where


@pytest.mark.parametrize(("dtype", "scale", "where"), [("int8", 0.1, Where.HW), ("float32", None, Where.SW)])
def test_a_slope_is_quantized(dtype: str, scale: float | None, where: Where, placed: Placed) -> None:
    slope = Tensor("c0", (8, 1, 1), dtype, scale, 0, constant=True)
    rule = placed("PRelu", [MAP], MAP, [(8, 1, 1)], change={"c0": slope})
    assert rule.where is where


@pytest.mark.parametrize(("data", "constants", "where"), [([MAP], [(), ()], Where.HW), ([MAP, ()], [()], Where.SW)])
def test_bounds_of_clip(
    data: list[tuple[int, ...]], constants: list[tuple[int, ...]], where: Where, placed: Placed
) -> None:
    assert placed("Clip", data, MAP, constants).where is where


@pytest.mark.parametrize("version", VERSIONS)
def test_powers_by_version(version: tuple[int, int], placed: Placed) -> None:
    constant = placed("Pow", [MAP], MAP, [()], version=version)
    computed = placed("Pow", [MAP, MAP], MAP, version=version)
    assert (constant.where is Where.HW) is (version >= (4, 0))
    assert computed.where is Where.SW
