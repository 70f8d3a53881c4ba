"""Grouping into epochs: limits that always hold, and the fusions that were seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder, attention_encoder

from n6convert.npu.ends import Ends
from n6convert.npu.ir import EpochCounts, Lowered, Schedule, Where
from n6convert.npu.placement import place, read
from n6convert.npu.rules.limits import EPOCH_UNITS, VERSIONS

Step = Callable[[QdqBuilder, str, str], str]


def _schedule(build: Callable[[QdqBuilder], str], version: tuple[int, int] = (2, 1)) -> tuple[Lowered, Schedule]:
    builder = QdqBuilder("net")
    builder.output(build(builder))
    return place(read(builder.model()), version, ends=Ends(output_channels="chlast"))


def _sequences(build: Callable[[QdqBuilder], str], version: tuple[int, int] = (2, 1)) -> list[str]:
    return [epoch.printed for epoch in _schedule(build, version)[1].epochs]


def test_residual_joins_the_convolution_before_it() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 16, 16, 16), 16, 16)
        return b.op("Add", x, b.conv(b.conv(x, 16, 16), 16, 16))

    assert _sequences(build) == ["Identity", "Conv", "Conv", "Conv+Add"]


def test_swish_joins_but_a_residual_behind_it_does_not() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 16, 32, 32), 16, 16)
        y = b.conv(x, 16, 16)
        return b.op("Add", x, b.op("Mul", y, b.op("Sigmoid", y)))

    assert _sequences(build) == ["Identity", "Conv", "Conv+Swish", "Add"]


def test_a_second_operand_of_the_same_epoch_waits() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Add", b.op("Sigmoid", b.input(1, 30, 128)), b.weight(1, 1, 128))
        mean = b.op("ReduceMean", x, axes=[2], keepdims=1)
        return b.op("Sub", x, mean)

    sequences = _sequences(build)
    assert sequences[-1] == "Sub"
    assert "GlobalAveragePool" in sequences[-2]


def test_pools_stream_behind_1x1_convolutions_up_to_2_2_only() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("GlobalAveragePool", b.conv(b.input(1, 16, 16, 16), 16, 16))

    assert _sequences(build, (2, 2))[-1] == "Conv+GlobalAveragePool"
    assert _sequences(build, (3, 0))[-1] == "GlobalAveragePool"


@pytest.mark.parametrize("version", [(2, 1), (4, 0)])
def test_a_mean_streams_behind_a_product_through_a_reshape_and_a_root_behind_the_mean(version: tuple[int, int]) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Sigmoid", b.input(1, 8, 6, 16))
        pooled = b.op("GlobalAveragePool", b.reshape(b.op("Mul", x, b.weight(1, 8, 1, 16)), 1, 48, 16))
        return b.op("Sqrt", b.reshape(pooled, 1, 8, 6, 1))

    assert _sequences(build, version)[-1] == "Sigmoid+Mul+Reshape+GlobalAveragePool+Reshape+Sqrt"


def test_nothing_streams_behind_a_convolution_through_a_reshape() -> None:
    def build(b: QdqBuilder, kind: str) -> str:
        return b.op(kind, b.reshape(b.conv(b.input(1, 16, 8, 8), 16, 16, 3), 1, 16, 64))

    for kind in ("GlobalAveragePool", "Sigmoid"):
        assert _sequences(lambda b, kind=kind: build(b, kind))[-2:] == ["Conv+Reshape", kind]


def test_convolutions_that_need_all_units_do_not_share() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 32, 32, 32), 32, 32)
        return b.op("Concat", b.conv(x, 32, 32, 3), b.conv(x, 32, 32, 3), axis=1)

    assert sum("Conv" in name for name in _sequences(build)) == 3


def test_views_of_software_results_are_epochs_without_work_up_to_2_2() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("Softmax", b.reshape(b.op("Softmax", b.op("Sigmoid", b.input(1, 4, 30))), 1, 120))

    assert _sequences(build, (2, 2)) == ["Sigmoid", "Softmax", "Reshape", "Softmax"]
    assert _sequences(build, (4, 0)) == ["Sigmoid", "Softmax+Reshape", "Softmax"]


def test_counts_of_an_empty_schedule() -> None:
    assert EpochCounts.of([]).offload == 0.0


def _check(lowered: Lowered, plan: Schedule) -> None:
    assert [epoch.id for epoch in plan.epochs] == list(range(1, len(plan.epochs) + 1))
    written: dict[str, int] = dict.fromkeys(lowered.inputs, 0)
    for epoch in plan.epochs:
        assert epoch.ops and epoch.units.within(EPOCH_UNITS)
        if epoch.kind is not Where.HW:
            assert sum(op.where is not Where.NONE for op in epoch.ops) == 1
        for op in epoch.ops:
            for name in op.inputs:
                assert lowered.tensors[name].constant or written.get(name, epoch.id) <= epoch.id, (op.name, name)
            written.update(dict.fromkeys(op.outputs, epoch.id))
        local = {name for op in epoch.ops for name in op.outputs}
        assert not local & set(epoch.inputs)
        assert set(epoch.outputs) <= local
    busy = [op.name for op in lowered.ops if op.where is not Where.NONE]
    placed = [op.name for epoch in plan.epochs for op in epoch.ops if op.where is not Where.NONE]
    assert sorted(name for name in placed if not name.endswith("/scale")) == sorted(busy), "scaling may be an op apart"
    hardware = [epoch.id for epoch in plan.epochs if epoch.kind is Where.HW]
    assert [i for first, last in plan.blobs for i in range(first, last + 1)] == hardware
    assert all(b[0] > a[1] + 1 for a, b in zip(plan.blobs, plan.blobs[1:], strict=False))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("quantized", [True, False])
def test_transformers_keep_every_invariant(version: tuple[int, int], quantized: bool) -> None:
    _check(*place(read(attention_encoder(2, 16, 32, 4, 64, quantized=quantized)), version))


_STEPS: dict[str, Step] = {
    "conv1": lambda b, x, y: b.conv(x, 16, 16),
    "conv3": lambda b, x, y: b.conv(x, 16, 16, 3),
    "depthwise": lambda b, x, y: b.conv(x, 16, 16, 3, group=16),
    "big": lambda b, x, y: b.conv(x, 16, 16, 7),
    "add": lambda b, x, y: b.op("Add", x, y),
    "mul": lambda b, x, y: b.op("Mul", x, y),
    "square": lambda b, x, y: b.op("Mul", x, x, zero=-128),
    "swish": lambda b, x, y: b.op("Mul", x, b.op("Sigmoid", x)),
    "relu": lambda b, x, y: b.op("Relu", x, zero=-128),
    "log": lambda b, x, y: b.op("Log", x),
    "softmax": lambda b, x, y: b.op("Softmax", x),
    "pool": lambda b, x, y: b.op("MaxPool", x, kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
    "scale": lambda b, x, y: b.op("Mul", x, b.op("GlobalAveragePool", x)),
    "float": lambda b, x, y: b.op("Sub", x, y, pair=False),
    "split": lambda b, x, y: b.op(
        "Concat", *b.ops("Split", [x, b.constant(np.array([8, 8]))], 2, axis=1)[::-1], axis=1
    ),
    "turn": lambda b, x, y: b.op("Transpose", b.op("Transpose", x, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]),
    "heads": lambda b, x, y: b.op("MatMul", x, y),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(st.tuples(st.sampled_from(sorted(_STEPS)), st.integers(0, 3)), min_size=1, max_size=12),
    version=st.sampled_from(VERSIONS),
)
def test_random_networks_keep_every_invariant(steps: list[tuple[str, int]], version: tuple[int, int]) -> None:
    def build(b: QdqBuilder) -> str:
        made = [b.conv(b.input(1, 16, 8, 8), 16, 16)]
        for name, back in steps:
            made.append(_STEPS[name](b, made[-1], made[max(0, len(made) - 1 - back)]))
        return made[-1]

    _check(*_schedule(build, version))
