"""Board time: each resource in turn decides, overheads follow the controller, intervals and assumptions are there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from n6convert.npu.costs import Costs, cost, fill_operators
from n6convert.npu.ir import ConvGeometry, Epoch, Lowered, Op, OperatorReport, Schedule, Tensor, Where
from n6convert.npu.streams import epoch_traffic
from n6convert.npu.targets import Target, load_target

DK = load_target("stm32n6570-dk@3.0")


def _tensor(name: str, *shape: int, zero_point: int = -128, constant: bool = False) -> Tensor:
    return Tensor(name, shape, "int8", 0.1, zero_point, constant)


def _conv(out: int, channels: int, size: int, kernel: int = 1, groups: int = 1) -> tuple[Lowered, Schedule]:
    geometry = ConvGeometry(out, channels, (kernel, kernel), groups=groups, in_hw=(size, size), out_hw=(size, size))
    tensors = {
        "x": _tensor("x", 1, channels, size, size),
        "w": _tensor("w", out, channels // groups, kernel, kernel, constant=True),
        "b": Tensor("b", (out,), "int32", 0.1, 0, constant=True),
        "y": _tensor("y", 1, out, size, size),
    }
    tensors["w"].per_channel = True
    op = Op("conv", "Conv", ("x", "w", "b"), ("y",), conv=geometry, macs=geometry.macs)
    return Lowered([op], tensors, ("x",), ("y",)), Schedule([Epoch(1, Where.HW, (op,), ("x",), ("y",))], ((1, 1),))


def _software(kind: str, shape: tuple[int, ...], **attributes: int) -> tuple[Lowered, Schedule]:
    tensors = {name: _tensor(name, *shape) for name in "xy"}
    op = Op("op", kind, ("x",), ("y",), where=Where.SW, attributes=dict(attributes), macs=1000)
    return Lowered([op], tensors, ("x",), ("y",)), Schedule([Epoch(1, Where.SW, (op,), ("x",), ("y",))])


def _price(pair: tuple[Lowered, Schedule], target: Target = DK) -> Costs:
    return cost(*pair, target)


def test_a_large_kernel_is_bound_by_computing() -> None:
    costs = _price(_conv(64, 64, 32, kernel=3))
    assert costs.epochs[0].bound == "compute"
    assert costs.epochs[0].microseconds == pytest.approx(costs.compute_cycles / 1000, rel=0.25)


def test_a_fully_connected_layer_is_bound_by_flash() -> None:
    """1.28 MB through 380 MB/s ([#flash-bandwidth]: 3.2 ms measured at 397 MB/s)."""
    costs = _price(_conv(1000, 1280, 1))
    assert costs.epochs[0].bound == "flash"
    assert costs.latency.parts["flash"] == pytest.approx(3.4, rel=0.03)


def test_a_depthwise_layer_is_bound_by_single_bytes() -> None:
    costs = _price(_conv(32, 32, 64, kernel=3, groups=32))
    assert costs.epochs[0].max_cycles == pytest.approx(1.25 * 32 * 64 * 64)
    assert costs.epochs[0].microseconds < costs.epochs[0].max_cycles / 1000


def test_slow_flash_and_slow_clocks() -> None:
    pair = _conv(1000, 1280, 1)
    template = load_target("nucleo-n657x0-q-aistudio@4.0")
    assert _price(pair, template).latency.milliseconds > 3 * _price(pair).latency.milliseconds
    compute = _conv(64, 64, 32, kernel=3)
    slow = replace(DK, clocks=replace(DK.clocks, npu=500))
    assert _price(compute, slow).latency.parts["compute"] > 1.9 * _price(compute).latency.parts["compute"]


def test_wide_layers_stream_their_vectors() -> None:
    """More than 512 channels: the vectors come from flash and cost extra time ([#wide-layers])."""
    narrow, wide = _price(_conv(512, 64, 14)), _price(_conv(576, 64, 14))
    assert wide.latency.milliseconds > 1.5 * narrow.latency.milliseconds
    assert wide.memory.weights - 576 * 64 == 4 * 576 * 14
    lowered, schedule = _conv(576, 64, 14)
    lowered.tensors["w"].per_channel = False
    assert cost(lowered, schedule, DK).memory.weights - 576 * 64 == 2 * 576 * 14


def test_controller_off_costs_cpu_time_per_channel() -> None:
    pair = _conv(64, 64, 32, kernel=3)
    off = _price(pair, DK.with_epoch_controller(False)).latency.parts["overhead"]
    fewer = _price(_conv(16, 64, 32, kernel=3), DK.with_epoch_controller(False)).latency.parts["overhead"]
    assert off - fewer == pytest.approx(48 * 100 / 800 / 1000)
    assert _price(pair).latency.parts["overhead"] == pytest.approx(25_000 / 800 / 1000)


@pytest.mark.parametrize(("kind", "cycles"), [("Softmax", 60), ("DequantizeLinear", 6.9), ("Unheard", 15)])
def test_software_per_element(kind: str, cycles: float) -> None:
    costs = _price(_software(kind, (1, 10, 1000)))
    assert costs.latency.parts["software"] == pytest.approx((8500 + cycles * 10_000) / 800 / 1000)
    assert costs.epochs[0].compute_cycles == 0 and costs.time_share == 0


def test_concat_on_the_innermost_axis_is_dearer() -> None:
    """[#software-time]: 6.4 to 10 CPU cycles a byte against 1.5 to 1.75."""

    def joined(first: tuple[int, ...]) -> float:
        lowered, schedule = _software("Concat", (1, 10, 1000))
        lowered.tensors["x"] = _tensor("x", *first)
        return _price((lowered, schedule)).latency.milliseconds

    assert joined((1, 10, 500)) == pytest.approx((8500 + 8 * 10_000) / 800 / 1000)
    assert joined((1, 5, 1000)) == pytest.approx((8500 + 1.6 * 10_000) / 800 / 1000)


def test_software_between_hardware_pays_for_the_switch() -> None:
    lowered, schedule = _conv(64, 64, 32)
    first = schedule.epochs[0]
    lowered.tensors |= {name: _tensor(name, 1, 64, 32, 32) for name in "yz"}
    soft = Op("soft", "Softmax", ("y",), ("z",), where=Where.SW)
    last = replace(first, id=3, inputs=("z",))
    epochs = [first, Epoch(2, Where.SW, (soft,), ("y",), ("z",)), last]
    old = load_target("stm32n6570-dk@2.2")
    between, last = Schedule(epochs, ((1, 1), (3, 3))), Schedule(epochs[:2], ((1, 1),))
    assert cost(lowered, between, old).epochs[1].overhead == pytest.approx(50)
    assert cost(lowered, last, old).epochs[1].overhead == 0
    for free in (DK, old.with_epoch_controller(False)):
        assert cost(lowered, between, free).epochs[1].overhead == 0, "none on 3.0 and later (r11), none without (r24)"


@pytest.mark.parametrize(
    ("kind", "size", "cycles"), [("DequantizeLinear", 100, 4000), ("QuantizeLinear", 1000, 10_800)]
)
def test_small_software_epochs_without_the_controller(kind: str, size: int, cycles: float) -> None:
    """Ten published logs: 3.7 to 4.1 k CPU cycles at 100 elements, 10.6 to 11.1 k at 1,000."""
    found = _price(_software(kind, (1, size)), load_target("stm32n6570-dk@2.2").with_epoch_controller(False))
    assert found.epochs[0].microseconds * 800 == pytest.approx(cycles, rel=0.15)


@pytest.mark.parametrize(
    ("kind", "shape", "microseconds"),
    [
        ("DepthToSpace", (1, 256, 14, 14), 208),
        ("DepthToSpace", (1, 128, 28, 28), 243),
        ("Concat", (1, 384, 14, 14), 219),
        ("Concat", (1, 192, 28, 28), 366),
        ("Concat", (1, 384, 7, 7), 89),
        ("Transpose", (1, 16, 4, 1029), 240),
    ],
)
def test_hybrid_epochs_of_a_published_log(kind: str, shape: tuple[int, ...], microseconds: float) -> None:
    """r11 on 4.0.1, with the rows of the copies that each one starts."""
    lowered, _ = _software(kind, shape)
    lowered.tensors["x"] = _tensor("x", 1, shape[1] // 3, *shape[2:])
    op = replace(lowered.ops[0], where=Where.HYBRID)
    schedule = Schedule([Epoch(1, Where.HYBRID, (op,), op.inputs, op.outputs)], ())
    target = load_target("nucleo-n657x0-q-aistudio@4.0")
    assert cost(lowered, schedule, target).epochs[0].microseconds == pytest.approx(microseconds, rel=0.2)


@pytest.mark.parametrize(("version", "kernel", "passes"), [("3.0", 3, 1), ("3.0", 5, 5), ("4.0", 7, 7), ("2.2", 5, 1)])
def test_tall_depthwise_kernels_take_a_pass_for_every_row(version: str, kernel: int, passes: int) -> None:
    geometry = ConvGeometry(64, 64, (kernel, kernel), groups=64, in_hw=(40, 40), out_hw=(40, 40))
    op = Op("c", "Conv", ("x", "w"), ("y",), conv=geometry)
    tensors = {name: _tensor(name, 1, 64, 40, 40) for name in "xy"} | {"w": _tensor("w", 64, 1, kernel, kernel)}
    tensors["w"].constant, tensors["x"].zero_point = True, -128
    schedule = Schedule([Epoch(1, Where.HW, (op,), ("x",), ("y",))], ((1, 1),))
    found = cost(Lowered([op], tensors, ("x",), ("y",)), schedule, load_target(f"stm32n6570-dk@{version}"))
    assert found.epochs[0].bound == "compute"
    assert found.epochs[0].microseconds == pytest.approx(passes * 102.4 + 2, rel=0.05)


def test_tiles_of_a_large_dense_kernel_wait() -> None:
    """512 -> 512 with 3x3 at 7x7 (resnet18): 1,024 tiles of weights, 2 us each; none with 256 inputs (YOLOv8n)."""
    wide, narrow = (_price(_conv(512, width, 7, kernel=3)).epochs[0] for width in (512, 256))
    assert (wide.bound, narrow.bound) == ("flash", "flash")
    assert wide.microseconds - 512 * 512 * 9 / 380 == pytest.approx(2048, abs=50)
    assert narrow.microseconds - 256 * 512 * 9 / 380 == pytest.approx(25, abs=25)


def test_idle_epochs_are_free() -> None:
    view = Op("view", "Transpose", ("x",), ("y",), where=Where.NONE)
    tensors = {name: _tensor(name, 1, 3, 8, 8) for name in "xy"}
    schedule = Schedule([Epoch(1, Where.HW, (view,), ("x",), ("y",))], ((1, 1),))
    costs = cost(Lowered([view], tensors, ("x",), ("y",)), schedule, DK.with_epoch_controller(True))
    assert (costs.max_cycles, costs.latency.milliseconds) == (0, 0)
    assert costs.memory.activations == 192


def test_interval_parts_and_assumptions() -> None:
    costs = _price(_conv(64, 64, 32))
    latency = costs.latency
    assert latency.low < latency.milliseconds < latency.high
    assert sum(latency.parts.values()) == pytest.approx(latency.milliseconds)
    text = " ".join(latency.assumptions)
    assert "380 MB/s" in text and "epoch controller" in text and "NPU 1000 MHz" in text
    facts = costs.as_dict()
    assert set(facts) == {"memory", "cycles", "latency"} and facts["memory"]["fits"] is True


def _outside(op: Op, tensors: dict[str, Tensor]) -> float:
    """Microseconds of an epoch whose tensors all lie in external RAM, without its start."""
    target = load_target("stm32n6570-dk@3.0")
    target = replace(target, pools=tuple(pool for pool in target.pools if pool.external))
    schedule = Schedule([Epoch(1, Where.HW, (op,), ("x",), op.outputs)], ((1, 1),))
    found = cost(Lowered([op], tensors, ("x",), op.outputs), schedule, target)
    assert found.memory.external > 0 and found.epochs[0].bound == "memory"
    return found.epochs[0].microseconds - 2


def test_external_ram_streams_at_its_own_rate() -> None:
    """A copy of 1 MB reads and writes it: 2 MB at 78 MB/s; a spare map of a split kernel costs its place only."""
    tensors = {name: _tensor(name, 1, 16, 250, 250) for name in "xyz"}
    assert _outside(Op("copy", "Identity", ("x",), ("y",)), tensors) == pytest.approx(2e6 / 78)
    assert _outside(Op("copy", "Identity", ("x",), ("y", "z")), tensors) == pytest.approx(3e6 / 78)
    spare = Op("copy", "Identity", ("x",), ("y", "z"), attributes={"spare": ("z",)})
    assert _outside(spare, tensors) == pytest.approx(2e6 / 78)


def test_partial_sums_keep_external_ram_busier() -> None:
    """48 -> 192 with 3x3 at 96x96 (EfficientNetV2-S on 4.0): 195 ms measured for this layer and the next."""
    geometry = ConvGeometry(192, 48, (3, 3), in_hw=(96, 96), out_hw=(96, 96))
    tensors = {"x": _tensor("x", 1, 48, 96, 96, zero_point=3), "y": _tensor("y", 1, 192, 96, 96)}
    tensors["w"] = _tensor("w", 192, 48, 3, 3, constant=True)
    op = Op("c", "Conv", ("x", "w"), ("y",), conv=geometry)
    target = load_target("stm32n6570-dk@3.0")
    outside = next(pool for pool in target.pools if pool.name == "hyperRAM")
    epoch = Epoch(1, Where.HW, (op,), ("x",), ("y",))
    moved = epoch_traffic(epoch, tensors, {"x": outside, "y": outside}, target)["hyperRAM"]
    assert moved.writes > 2 * tensors["y"].nbytes, "16-bit sums on their way"
    assert _outside(op, tensors) == pytest.approx((moved.reads + moved.writes) / (78 * 1.65), rel=0.01)


@pytest.mark.parametrize(("kind", "repeated"), [("Conv", True), ("Identity", False)])
def test_maps_outside_that_move_more_than_once_are_marked(kind: str, repeated: bool) -> None:
    """Partial sums cross as often as there are passes over the input channels; a copy moves every map once."""
    geometry = ConvGeometry(48, 48, (3, 3), in_hw=(30, 30), out_hw=(30, 30))
    tensors = {name: _tensor(name, 1, 48, 30, 30, zero_point=3) for name in "xy"}
    tensors["w"] = _tensor("w", 48, 48, 3, 3, constant=True)
    inputs = ("x", "w") if repeated else ("x",)
    op = Op("c", kind, inputs, ("y",), conv=geometry if repeated else None)
    schedule = Schedule([Epoch(1, Where.HW, (op,), ("x",), ("y",))], ((1, 1),))
    target = load_target("stm32n6570-dk@3.0")
    outside = replace(target, pools=tuple(pool for pool in target.pools if pool.external))
    assert cost(Lowered([op], tensors, ("x",), ("y",)), schedule, outside).epochs[0].repeated == repeated
    assert not cost(Lowered([op], tensors, ("x",), ("y",)), schedule, target).epochs[0].repeated, "all on the chip"


def test_a_bilinear_resize_costs_20_cpu_cycles_an_element() -> None:
    """MoveNet on 2.0 and ST's YOLOX with bilinear maps on 3.0 say 20.9 and 19.8."""
    op = Op("r", "Resize", ("x",), ("y",), where=Where.SW)
    tensors = {"x": _tensor("x", 1, 64, 20, 20), "y": _tensor("y", 1, 64, 40, 40)}
    found = cost(Lowered([op], tensors, ("x",), ("y",)), Schedule([Epoch(1, Where.SW, (op,), ("x",), ("y",))]), DK)
    assert found.epochs[0].microseconds == pytest.approx((64 * 40 * 40 * 20 + 8500) / 800, rel=0.02)


def test_external_memory_is_an_assumption_of_its_own() -> None:
    costs = _price(_conv(64, 64, 256))
    assert costs.memory.external > 0 and costs.epochs[0].bound == "memory"
    assert any("external RAM" in line for line in costs.latency.assumptions)


def test_operators_share_their_epochs_time_once() -> None:
    costs = _price(_conv(64, 64, 32))
    lines = [OperatorReport(name, "Conv", Where.HW, 1, "", "", "") for name in "ab"]
    fill_operators([*lines, OperatorReport("c", "Add", Where.HW, 9, "", "", "")], costs)
    assert lines[0].cycles == costs.max_cycles and lines[1].cycles == 0
    assert lines[0].microseconds == pytest.approx(costs.latency.milliseconds * 1000, rel=1e-3)
