"""Time of software epochs against the cycles that the reference gives, and what must not change it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from n6convert.npu.ir import Epoch, Op, Tensor, Where
from n6convert.npu.software_time import software_time, switch_time
from n6convert.npu.targets import Target, load_target

DK = load_target("stm32n6570-dk@4.0")
OLD = load_target("stm32n6570-dk@2.2")
POOLS = {pool.name: pool for pool in DK.pools}
FIXED = 8500
"""CPU cycles of every software epoch with the controller ([#software-time])."""


def _time(op: Op, tensors: dict[str, Tensor], target: Target = DK, pool: str = "npuRAM5") -> float:
    epoch = Epoch(1, op.where, (op,), op.inputs, op.outputs)
    crossing = dict.fromkeys((*op.inputs, *op.outputs), POOLS[pool])
    return software_time(epoch, tensors, crossing, target)


def _unary(kind: str, *shape: int, where: Where = Where.SW, as_float: bool = False, repeat: int = 1) -> float:
    dtype = "float32" if as_float else "int8"
    tensors = {name: Tensor(name, shape, dtype, None if as_float else 0.1, 0) for name in "xy"}
    op = Op("o", kind, ("x",), ("y",), where=where, float=as_float, repeat=repeat, macs=1000)
    return _time(op, tensors)


@pytest.mark.parametrize(
    ("kind", "as_float", "cycles"),
    [("Softmax", False, 60 * 1000), ("Sub", True, 17 * 1000), ("Sub", False, 37 * 1000), ("Add", False, 37 * 1000),
     ("Div", True, 20 * 1000), ("Transpose", False, 2.2 * 1000), ("Transpose", True, 2.2 * 4000),
     ("NeverSeen", False, 15 * 1000), ("Reshape", False, 0)],
)  # fmt: skip
def test_cycles_of_1000_elements(kind: str, as_float: bool, cycles: float) -> None:
    """By element, or by byte for moves; a kind that nobody measured takes the middle of the float kernels."""
    assert _unary(kind, 1, 10, 10, 10, as_float=as_float) == pytest.approx((FIXED + cycles) / 800)


def test_a_convolution_is_paid_by_its_multiplications_alone() -> None:
    assert _unary("Conv", 1, 10, 10, 10) == _unary("Conv", 1, 1, 1, 1) == pytest.approx((FIXED + 2.7 * 1000) / 800)


def test_repeats_are_repeated() -> None:
    assert _unary("Softmax", 1, 100, repeat=3) == pytest.approx(3 * _unary("Softmax", 1, 100))


def test_more_elements_never_take_less() -> None:
    for kind in ("Softmax", "Transpose", "Gather", "Resize", "Concat"):
        times = [_unary(kind, 1, 8, n, n) for n in (1, 2, 4, 8, 16)]
        assert times == sorted(times) and times[0] < times[-1], kind


def test_a_hybrid_kernel_waits_for_its_copies() -> None:
    """A Transpose of 65,856 bytes took 66 k CPU cycles and 76 k for the copies (r11); its own start, not the common."""
    found = _unary("Transpose", 1, 65_856, where=Where.HYBRID)
    assert found == pytest.approx((20_000 + 65_856) / 800 + 0.9 * 65_856 / 1000)
    assert found > _unary("Transpose", 1, 65_856) - 100


@pytest.mark.parametrize(("axis", "rate"), [(1, 1.6), (3, 8)])
def test_a_concat_on_the_last_axis_copies_bytes(axis: int, rate: float) -> None:
    part, whole = [1, 4, 5, 6], [1, 4, 5, 6]
    whole[axis] *= 2
    tensors = {name: Tensor(name, tuple(part), "int8", 0.1, 0) for name in "ab"}
    tensors["y"] = Tensor("y", tuple(whole), "int8", 0.1, 0)
    op = Op("c", "Concat", ("a", "b"), ("y",), where=Where.SW)
    assert _time(op, tensors) == pytest.approx((FIXED + rate * 240) / 800)


def test_external_ram_is_waited_for_by_every_byte_once() -> None:
    tensors = {name: Tensor(name, (1, 1000), "int8", 0.1, 0) for name in "xy"}
    op = Op("s", "Softmax", ("x",), ("y",), where=Where.SW)
    inside, outside = (_time(op, tensors, pool=pool) for pool in ("npuRAM5", "hyperRAM"))
    assert outside - inside == pytest.approx(2000 / DK.hyperram_mb_s)
    twice = replace(op, inputs=("x", "x"))
    assert _time(twice, tensors, pool="hyperRAM") == pytest.approx(outside)


def test_clocks_divide_their_own_part() -> None:
    tensors = {name: Tensor(name, (1, 1000), "int8", 0.1, 0) for name in "xy"}
    op = Op("s", "Softmax", ("x",), ("y",), where=Where.SW)
    assert _time(op, tensors, DK.with_clocks(400, 1000)) == pytest.approx(2 * _time(op, tensors))
    assert _time(op, tensors, DK.with_clocks(800, 500)) == pytest.approx(_time(op, tensors))


def test_without_the_controller_an_epoch_starts_faster() -> None:
    tensors = {name: Tensor(name, (1, 1), "int8", 0.1, 0) for name in "xy"}
    op = Op("s", "Reshape", ("x",), ("y",), where=Where.SW)
    assert _time(op, tensors, DK.with_epoch_controller(False)) == pytest.approx(3300 / 800)
    assert _time(op, tensors) == pytest.approx(8500 / 800)


def test_constants_are_not_read_as_data() -> None:
    """Gather's table is larger than what it gives."""
    tensors = {
        "table": Tensor("table", (30_000, 8), "int8", 0.1, 0, constant=True),
        "x": Tensor("x", (1, 4), "int8", 0.1, 0),
        "y": Tensor("y", (1, 4, 8), "int8", 0.1, 0),
    }
    op = Op("p", "PRelu", ("table", "x"), ("y",), where=Where.SW)
    assert _time(op, tensors) == pytest.approx((FIXED + 10 * 32) / 800)


@pytest.mark.parametrize(
    ("target", "controller", "cycles"), [(OLD, True, 40_000), (OLD, False, 0), (DK, True, 0), (DK, False, 0)]
)
def test_a_switch_is_paid_up_to_2_2_with_the_controller(target: Target, controller: bool, cycles: float) -> None:
    assert switch_time(target.with_epoch_controller(controller)) == pytest.approx(cycles / 800)
