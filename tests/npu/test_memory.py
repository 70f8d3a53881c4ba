"""The allocator against buffers that the compiler placed, and its rules on small schedules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from n6convert.npu.allocation import Buffer, place
from n6convert.npu.ir import ConvGeometry, Epoch, Lowered, Op, Schedule, Tensor, Where
from n6convert.npu.memory import lifetimes, plan_memory
from n6convert.npu.st.text import read_json
from n6convert.npu.streams import stored_weights
from n6convert.npu.targets import Target, load_target
from n6convert.npu.weights import aligned, weight_bytes

KB = 1024


@pytest.fixture
def target() -> Target:
    return load_target("stm32n6570-dk@3.0")


def _names(buffers: list[Buffer]) -> list[str | None]:
    return [buffer.pool.name if buffer.pool else None for buffer in buffers]


def test_fastest_pool_first_then_the_joined_one(target: Target) -> None:
    small, medium, large = Buffer("a", 100 * KB, 0, 2), Buffer("b", 440 * KB, 0, 2), Buffer("c", 1200 * KB, 1, 2)
    assert place([small, medium, large], target.pools) == []
    assert _names([small, medium]) == ["npuRAM4", "npuRAM5"]
    assert large.pool is not None and large.pool.name == "cpuRAM2"
    assert large.end > 0x34200000, "a buffer above every single pool straddles adjacent ones"


def test_order_of_the_pool_file_does_not_matter(target: Target) -> None:
    """Among equal pools the one at the highest address comes first (SEEN r39, r42: their files list it last)."""
    for pools in (target.pools, target.pools[::-1]):
        small = Buffer("a", 100 * KB, 0, 2)
        assert place([small, Buffer("b", 440 * KB, 0, 2)], pools) == []
        assert small.pool is not None and small.pool.name == "npuRAM4"


def test_buffers_that_live_together_never_overlap(target: Target) -> None:
    buffers = [Buffer(str(i), (i * 7919) % 97 * 4096 + 16, i // 2, i // 2 + i % 5) for i in range(120)]
    assert place(buffers, target.pools) == []
    for i, one in enumerate(buffers):
        for other in buffers[:i]:
            if one.first <= other.last and other.first <= one.last:
                assert one.end <= other.address or other.end <= one.address


def test_among_equals_the_one_that_lives_longest_takes_the_lowest_address(target: Target) -> None:
    """The first epochs of r31: conv (3-4) and gate (3-5) of 262,144 bytes; the gate lies below (0x80000, 0xc0000)."""
    wide, conv, gate = Buffer("sum", 512 * KB, 4, 5), Buffer("conv", 256 * KB, 3, 4), Buffer("gate", 256 * KB, 3, 5)
    pool = replace(target.pools[0], start=0, size=2048 * KB)
    assert place([conv, gate, wide], [pool]) == []
    assert (wide.address, gate.address, conv.address) == (0, 0x80000, 0xC0000)


def test_spill_and_misfit(target: Target) -> None:
    buffers = [Buffer("a", 1800 * KB, 0, 1), Buffer("b", 1800 * KB, 1, 2)]
    assert place(buffers, target.pools) == []
    assert sorted(filter(None, _names(buffers))) == ["cpuRAM2", "hyperRAM"]
    onchip = [pool for pool in target.pools if not pool.external]
    assert len(place([Buffer("a", 1800 * KB, 0, 1), Buffer("b", 1800 * KB, 1, 2)], onchip)) == 1


@pytest.mark.parametrize(
    ("path", "activations"),
    [
        ("r01_mobilenet_v2_128_0.5_qdq/v2.1.0_network_c_info.json.gz", 245_760),
        ("r01_mobilenet_v2_128_0.5_qdq/v3.0.0_network_c_info.json.gz", 245_760),
        ("r07_mobilefacenet_int8_qdq/v2.1.0_c_info.json.gz", 4_116_480),
        ("r15_tito_transformer_textgen/v2.2.0_network_c_info.json.gz", 1_266_240),
    ],
)
def test_the_compilers_own_buffers(path: str, activations: int, neuralart_dir: Path, target: Target) -> None:
    """Given the published lifetimes and sizes, the pools fill exactly as published."""
    data = read_json(neuralart_dir / "reports" / path)
    found: dict[tuple[int, int], Buffer] = {}
    for entry in data["buffers"]:
        if not entry["is_param"] and entry["size_bytes"]:
            life, key = entry["epochs"], (entry["mpool_id"] * 2**32 + entry["offset_start"], entry["epochs"]["start"])
            one = found.setdefault(key, Buffer(entry["name"], entry["size_bytes"], life["start"], life["end"]))
            one.last = max(one.last, life["end"])
    buffers = list(found.values())
    assert place(buffers, target.pools) == []
    tops: dict[str, int] = {}
    for pool in target.pools:
        ends = [min(b.end, pool.end) - pool.start for b in buffers if b.address < pool.end and b.end > pool.start]
        tops[pool.name] = max(ends, default=0)
    assert sum(tops.values()) == activations


def test_inputs_of_a_concat_lie_side_by_side(target: Target) -> None:
    tensors = {name: Tensor(name, (1, 16, 8, 8), "int8", 0.1, 3) for name in "xab"}
    tensors["y"] = Tensor("y", (1, 32, 8, 8), "int8", 0.1, 3)
    first, second = Op("f", "Sigmoid", ("x",), ("a",)), Op("g", "Sigmoid", ("a",), ("b",))
    concat = Op("c", "Concat", ("a", "b"), ("y",))
    epochs = [
        Epoch(1, Where.HW, (first,), ("x",), ("a",)),
        Epoch(2, Where.HW, (second,), ("a",), ("b",)),
        Epoch(3, Where.HW, (concat,), ("a", "b"), ("y",)),
    ]
    lowered = Lowered([first, second, concat], tensors, ("x",), ("y",))
    plan = plan_memory(lowered, Schedule(epochs), target)
    placed = {buffer.name: buffer for buffer in plan.buffers}
    assert placed["a"].end == placed["b"].address
    assert plan.fits and plan.peak == 4096


def _network() -> tuple[Lowered, Schedule]:
    shapes = {"x": (1, 8, 16, 16), "y": (1, 8, 16, 16), "v": (1, 2048), "z": (1, 2048)}
    tensors = {name: Tensor(name, shape, "int8", 0.1, -128) for name, shape in shapes.items()}
    tensors["w"] = Tensor("w", (8, 1, 3, 3), "int8", 0.1, 0, constant=True)
    geometry = ConvGeometry(8, 8, (3, 3), groups=8, in_hw=(16, 16), out_hw=(16, 16))
    tensors["b"] = Tensor("b", (8,), "int32", 0.1, 0, constant=True)
    conv = Op("conv", "Conv", ("x", "w", "b"), ("y",), conv=geometry, macs=geometry.macs)
    view = Op("view", "Reshape", ("y",), ("v",), where=Where.NONE)
    soft = Op("soft", "Softmax", ("v",), ("z",), where=Where.SW)
    epochs = [
        Epoch(1, Where.HW, (conv,), ("x",), ("y",)),
        Epoch(2, Where.NONE, (view,), ("y",), ("v",)),
        Epoch(3, Where.SW, (soft,), ("v",), ("z",)),
    ]
    return Lowered([conv, view, soft], tensors, ("x",), ("z",)), Schedule(epochs, ((1, 1),))


def test_reshapes_share_their_buffer() -> None:
    lowered, schedule = _network()
    buffers = {buffer.name: buffer for buffer in lifetimes(lowered, schedule)}
    assert set(buffers) == {"x", "y", "z"}
    assert (buffers["y"].first, buffers["y"].last) == (1, 3)
    assert {buffer.name for buffer in lifetimes(lowered, schedule, allocate=(False, False))} == {"y"}


def test_plan_and_weights(target: Target) -> None:
    lowered, schedule = _network()
    plan = plan_memory(lowered, schedule, target)
    assert plan.fits and plan.missing == 0 and plan.external == 0
    assert (plan.peak, plan.activations) == (4096, 4096)
    old, new = (load_target(f"stm32n6570-dk@{version}") for version in ("2.1", "4.0"))
    assert weight_bytes(lowered.ops, lowered, old) == 8 * 72
    assert weight_bytes(lowered.ops, lowered, new) == 72 + 8, "aligned to 16 bytes"
    assert weight_bytes(lowered.ops, lowered, target) == 72 + 4 * 8 + 8, "3.0 counts vectors with the controller, too"
    without = weight_bytes(lowered.ops, lowered, new.with_epoch_controller(False))
    assert without == 72 + 4 * 8 + 8, "vectors move into the controller's program"


def test_a_model_that_does_not_fit_says_by_how_much() -> None:
    lowered, schedule = _network()
    lowered.tensors["y"].shape = (1, 40_000, 16, 16)
    lowered.tensors["v"].shape = (1, 40_000 * 256)
    plan = plan_memory(lowered, schedule, load_target("nucleo-n657x0-q@3.0"))
    assert not plan.fits and plan.missing == 40_000 * 256
    kit = plan_memory(lowered, schedule, load_target("stm32n6570-dk@3.0"))
    assert kit.fits and kit.external == 40_000 * 256


def test_weights_on_chip_when_there_is_no_flash(target: Target) -> None:
    lowered, schedule = _network()
    onchip = replace(target, pools=tuple(pool for pool in target.pools if not pool.external))
    plan = plan_memory(lowered, schedule, onchip)
    assert plan.fits and sum(use.weights for use in plan.pools) == plan.weights
    lowered.tensors["w"].shape = (8, 1, 3, 3)
    huge = replace(lowered.ops[0].conv, kernel=(1000, 1000)) if lowered.ops[0].conv else None
    lowered.ops[0].conv = huge
    assert plan_memory(lowered, schedule, onchip).missing > 5_000_000


@pytest.mark.parametrize(
    ("version", "size", "groups", "counted"),
    [
        ("3.0", 14, 8, True), ("3.0", 12, 8, False), ("3.0", 14, 1, False), ("2.0", 12, 1, True), ("4.0", 14, 8, False),
    ],
)  # fmt: skip
def test_of_which_layers_biases_and_scales_are_weights(version: str, size: int, groups: int, counted: bool) -> None:
    """Published flash on 3.0: MobileNetV1 (14 rows, not 7), YOLOX at 192 (24, not 12), none in ResNet18, SqueezeNet."""
    geometry = ConvGeometry(8, 8, (3, 3), groups=groups, in_hw=(size, size), out_hw=(size, size))
    tensors = {name: Tensor(name, (1, 8, size, size), "int8", zero_point=-128) for name in "xy"}
    tensors["w"] = Tensor("w", geometry.weight_shape, "int8", constant=True, per_channel=True)
    tensors["b"] = Tensor("b", (8,), "int32", constant=True)
    op = Op("c", "Conv", ("x", "w", "b"), ("y",), conv=geometry)
    target = load_target(f"stm32n6570-dk@{version}")
    own = stored_weights(op, tensors, target)
    found = weight_bytes([op], Lowered([op], tensors, ("x",), ("y",)), target)
    assert found == aligned(own + 48 * counted)
