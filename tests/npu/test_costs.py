"""What must not change a prediction, and in which direction the rest must move it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder

from n6convert.npu.costs import Costs, cost, fill_operators
from n6convert.npu.ir import Where
from n6convert.npu.placement import place, read, report
from n6convert.npu.targets import Target, load_target

DK = load_target("stm32n6570-dk@4.0")
OLD = load_target("stm32n6570-dk@2.1")
TARGETS = [DK, OLD]
Build = Callable[[QdqBuilder], str]


def _block(b: QdqBuilder, side: int = 16, channels: int = 16, extra: bool = False) -> str:
    x = b.conv(b.input(1, 3, side, side), 3, channels, 3)
    y = b.op("Relu", b.conv(x, channels, channels, 3, group=channels), zero=-128)
    y = b.op("Add", x, b.conv(y, channels, channels))
    y = b.op("Sigmoid", b.op("MaxPool", y, kernel_shape=[2, 2], strides=[2, 2]))
    y = b.op("Softmax", b.reshape(y, 1, channels, side * side // 4)) if extra else y
    return y


def _model(build: Build = _block) -> onnx.ModelProto:
    builder = QdqBuilder("net")
    builder.output(build(builder))
    return builder.model()


def _costs(model: onnx.ModelProto, target: Target = DK) -> Costs:
    lowered, schedule = place(read(model), target.version)
    return cost(lowered, schedule, target)


def _numbers(costs: Costs) -> object:
    epochs = [(e.kind, e.compute_cycles, e.max_cycles, e.microseconds, e.overhead) for e in costs.epochs]
    return epochs, costs.memory.peak, costs.memory.weights, costs.latency.milliseconds


def _renamed(model: onnx.ModelProto) -> onnx.ModelProto:
    """Every tensor and node under another name, in another alphabetical order."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    names: dict[str, str] = {"": ""}

    def new(name: str) -> str:
        return names.setdefault(name, f"z{997 * (len(names) + 1) % 1009}_{len(names)}")

    for node in changed.graph.node:
        node.name = new(node.name) if node.name else ""
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
    for item in (*changed.graph.input, *changed.graph.output, *changed.graph.value_info, *changed.graph.initializer):
        item.name = new(item.name)
    return changed


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_names_change_nothing(target: Target) -> None:
    model = _model(lambda b: _block(b, extra=True))
    assert _numbers(_costs(_renamed(model), target)) == _numbers(_costs(model, target))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_the_order_of_constants_and_of_the_file_changes_nothing(target: Target) -> None:
    model = _model()
    turned = onnx.ModelProto()
    turned.CopyFrom(model)
    del turned.graph.initializer[:]
    turned.graph.initializer.extend(reversed(model.graph.initializer))
    assert _numbers(_costs(turned, target)) == _numbers(_costs(model, target))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_an_identity_costs_nothing(target: Target) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 8, 16, 16), 8, 16, 3)
        return b.conv(b.op("Identity", x, pair=False), 16, 16)

    def plain(b: QdqBuilder) -> str:
        return b.conv(b.conv(b.input(1, 8, 16, 16), 8, 16, 3), 16, 16)

    with_it, without = _costs(_model(build), target), _costs(_model(plain), target)
    assert with_it.latency.milliseconds == pytest.approx(without.latency.milliseconds)
    assert with_it.memory.peak == without.memory.peak


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("extra", [False, True])
def test_larger_images_never_take_less(target: Target, extra: bool) -> None:
    found = [_costs(_model(lambda b, s=s: _block(b, side=s, extra=extra)), target) for s in (8, 16, 32, 64)]
    times = [costs.latency.milliseconds for costs in found]
    peaks = [costs.memory.peak for costs in found]
    assert times == sorted(times) and times[0] < times[-1]
    assert peaks == sorted(peaks) and peaks[0] < peaks[-1]
    assert len({costs.memory.weights for costs in found}) == 1, "weights do not follow the size of the image"


@settings(max_examples=8)
@given(channels=st.lists(st.sampled_from([8, 16, 32, 64, 128]), min_size=2, max_size=3, unique=True))
def test_more_channels_never_take_less_weights(channels: list[int]) -> None:
    found = [_costs(_model(lambda b, c=c: _block(b, channels=c))).memory.weights for c in sorted(channels)]
    assert found == sorted(found) and len(set(found)) == len(found)


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_more_layers_take_more_of_everything(target: Target) -> None:
    def build(depth: int) -> Build:
        def stack(b: QdqBuilder) -> str:
            x = b.conv(b.input(1, 3, 32, 32), 3, 32, 3)
            for _ in range(depth):
                x = b.conv(x, 32, 32, 3)
            return x

        return stack

    found = [_costs(_model(build(depth)), target) for depth in (1, 2, 4)]
    for figure in (
        lambda c: c.latency.milliseconds, lambda c: c.compute_cycles, lambda c: c.max_cycles, lambda c: c.memory.weights
    ):  # fmt: skip
        values = [figure(costs) for costs in found]
        assert values == sorted(set(values))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_faster_board_never_takes_longer(target: Target) -> None:
    model = _model(lambda b: _block(b, extra=True))
    plain = _costs(model, target).latency.milliseconds
    faster = [
        target.with_clocks(2 * target.clocks.cpu, target.clocks.npu),
        target.with_clocks(target.clocks.cpu, 2 * target.clocks.npu),
        target.with_flash(2 * target.flash_mb_s),
        replace(target, hyperram_mb_s=2 * target.hyperram_mb_s),
    ]
    times = [_costs(model, board).latency.milliseconds for board in faster]
    assert all(time <= plain + 1e-12 for time in times)
    assert times[0] < plain and times[1] < plain


def test_the_compilers_cycles_know_no_clock() -> None:
    model = _model(lambda b: _block(b, extra=True))
    assert _costs(model).max_cycles == _costs(model, DK.with_clocks(200, 300)).max_cycles


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_figures_agree_with_each_other(target: Target) -> None:
    lowered, schedule = place(read(_model(lambda b: _block(b, extra=True))), target.version)
    costs = cost(lowered, schedule, target)
    facts = costs.as_dict()
    spent = sum(epoch.microseconds + epoch.overhead for epoch in costs.epochs) / 1000
    assert facts["latency"]["low"] <= facts["latency"]["milliseconds"] <= facts["latency"]["high"]
    assert sum(costs.latency.parts.values()) == pytest.approx(costs.latency.milliseconds, rel=1e-6)
    assert spent <= costs.latency.milliseconds + 1e-9
    assert sum(pool["weights"] for pool in facts["memory"]["pools"]) == facts["memory"]["weights"]
    assert all(pool["used"] <= pool["size"] for pool in facts["memory"]["pools"])
    assert facts["cycles"]["compute"] <= facts["cycles"]["max"]
    for before, after in zip(costs.epochs, schedule.epochs, strict=True):
        assert before.id == after.id and before.compute_cycles <= before.max_cycles + 1


def test_the_share_of_hardware_is_a_share() -> None:
    hardware, mixed = _costs(_model()), _costs(_model(lambda b: _block(b, extra=True)))
    assert hardware.time_share == 1.0
    assert mixed.time_share is not None and 0 < mixed.time_share < 1
    assert replace(mixed, epochs=[]).time_share is None


def test_every_epoch_is_booked_on_one_operator() -> None:
    lowered, schedule = place(read(_model(lambda b: _block(b, extra=True))), DK.version)
    costs = cost(lowered, schedule, DK)
    operators = report(schedule, DK.version).operators
    fill_operators(operators, costs)
    booked = sum(operator.microseconds or 0 for operator in operators)
    assert booked == pytest.approx(sum(e.microseconds + e.overhead for e in costs.epochs), abs=0.001 * len(operators))
    assert sum(operator.cycles or 0 for operator in operators) == pytest.approx(costs.max_cycles, abs=len(operators))
    fused = [operator for operator in operators if operator.cycles == 0 and operator.where is Where.HW]
    assert fused, "a Relu or Add shares the epoch of its convolution"


def test_ends_that_the_application_owns_are_no_activations() -> None:
    lowered, schedule = place(read(_model(lambda b: b.conv(b.input(1, 16, 64, 64), 16, 32))), DK.version)
    whole, without = (cost(lowered, schedule, DK, allocate=pair) for pair in ((True, True), (False, False)))
    assert whole.memory.peak > without.memory.peak
    assert whole.memory.weights == without.memory.weights
