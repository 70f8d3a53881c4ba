"""Bytes that epochs move, counted by hand, on every pool that they touch."""

from __future__ import annotations

from dataclasses import replace

import pytest

from n6convert.npu.ir import ConvGeometry, Epoch, Op, Tensor, Where
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.streams import (
    PoolTraffic,
    constant_pools,
    epoch_traffic,
    is_idle,
    max_cycles,
    stored_weights,
    vector_bytes,
)
from n6convert.npu.targets import Target, load_target

TARGETS = {version: load_target(f"stm32n6570-dk@{version}") for version in ("2.1", "2.2", "3.0", "4.0")}
DK = TARGETS["4.0"]
RAM = next(pool for pool in DK.pools if pool.name == "npuRAM5")
FLASH = next(pool for pool in DK.pools if pool.name == "octoFlash")
Traffic = dict[str, PoolTraffic]


def _tensor(name: str, *shape: int, zero: int = -128, dtype: str = "int8", constant: bool = False) -> Tensor:
    return Tensor(name, shape, dtype, 0.1, zero, constant)


def _conv(
    out: int, channels: int, side: int, kernel: int = 1, groups: int = 1, stride: int = 1, zero: int = -128
) -> tuple[Epoch, dict[str, Tensor]]:
    after = side // stride
    geometry = ConvGeometry(out, channels, (kernel, kernel), (stride, stride), groups=groups, in_hw=(side, side),
                            out_hw=(after, after))  # fmt: skip
    tensors = {
        "x": _tensor("x", 1, channels, side, side, zero=zero),
        "w": _tensor("w", *geometry.weight_shape, zero=0, constant=True),
        "b": _tensor("b", out, zero=0, dtype="int32", constant=True),
        "y": _tensor("y", 1, out, after, after),
    }
    tensors["w"].per_channel = True
    op = Op("c", "Conv", ("x", "w", "b"), ("y",), conv=geometry, macs=geometry.macs)
    return Epoch(1, Where.HW, (op,), ("x",), ("y",)), tensors


def _traffic(pair: tuple[Epoch, dict[str, Tensor]], target: Target = DK, pool: MemoryPool = RAM) -> Traffic:
    return epoch_traffic(*pair, {"x": pool, "y": pool}, target)


@pytest.mark.parametrize(
    ("side", "zero", "times"),
    [(13, -128, 1), (14, -128, 2), (9, 5, 1), (10, 5, 2)],
)
def test_a_map_is_read_again_where_its_tile_exceeds_4096_bytes(side: int, zero: int, times: int) -> None:
    """24 channels in one unit, 48 kernels in two groups of 24: 24 * 13 * 13 = 4,056 bytes stay, 4,704 do not; with
    features of 16 bits 2 * 24 * 9 * 9 = 3,888 stay, 4,800 do not."""
    found = _traffic(_conv(48, 24, side, zero=zero))
    assert found["npuRAM5"].reads == times * 24 * side * side
    assert found["npuRAM5"].writes == 48 * side * side
    assert (found["octoFlash"].reads, found["octoFlash"].writes) == (48 * 24, 0)


@pytest.mark.parametrize(("channels", "side", "times"), [(16, 16, 1), (17, 16, 2)])
def test_a_tile_of_exactly_4096_bytes_stays(channels: int, side: int, times: int) -> None:
    assert _traffic(_conv(48, channels, side))["npuRAM5"].reads == times * channels * side * side


def test_passes_exchange_sums_of_16_bits() -> None:
    """256 channels of 16-bit features: 4 units of 16 channels, so 4 passes; p reads and p + 1/2 writes."""
    found = _traffic(_conv(48, 256, 8, zero=5))["npuRAM5"]
    sums = 2 * 48 * 64
    assert found.reads == 256 * 64 + 4 * sums
    assert found.writes == 48 * 64 + 4.5 * sums


def test_deep_mode_reads_its_map_for_every_group_of_kernels() -> None:
    assert _traffic(_conv(72, 256, 8))["npuRAM5"].reads == 3 * 256 * 64


@pytest.mark.parametrize(
    ("version", "zero", "stride", "factor"),
    [("2.1", -128, 1, 8), ("2.1", 5, 1, 8), ("2.2", -128, 1, 8), ("2.2", 5, 1, 4), ("3.0", -128, 1, 1),
     ("3.0", 5, 1, 1), ("4.0", -128, 1, 1), ("4.0", 5, 1, 2), ("4.0", -128, 2, 2)],
)  # fmt: skip
def test_depthwise_weights_in_flash(version: str, zero: int, stride: int, factor: int) -> None:
    """[#depthwise-weights]: eight times up to 2.1, eight or four on 2.2, their size on 3.0, on 4.0 twice with a
    stride of 2 or another zero point."""
    epoch, tensors = _conv(32, 32, 16, kernel=3, groups=32, zero=zero, stride=stride)
    assert stored_weights(epoch.ops[0], tensors, TARGETS[version]) == factor * 32 * 9


@pytest.mark.parametrize(("elements", "nbytes"), [((3, 1), 2), ((4, 1), 2), ((5, 3), 8)])
def test_weights_of_four_bits_are_packed(elements: tuple[int, int], nbytes: int) -> None:
    epoch, tensors = _conv(*elements, 4)
    tensors["w"].dtype = "int4"
    assert stored_weights(epoch.ops[0], tensors, DK) == nbytes


@pytest.mark.parametrize(
    ("channels", "bias", "per_channel", "each"),
    [(512, True, True, 0), (513, True, True, 4), (513, True, False, 2), (513, False, True, 2), (513, False, False, 0)],
)
def test_vectors_of_more_than_512_channels(channels: int, bias: bool, per_channel: bool, each: int) -> None:
    """Two bytes a channel and column for the bias, two for scales by channel."""
    epoch, tensors = _conv(channels, 8, 3)
    tensors["w"].per_channel = per_channel
    op = epoch.ops[0] if bias else replace(epoch.ops[0], inputs=("x", "w"))
    assert vector_bytes(op, tensors, DK) == each * channels * 3


def test_software_streams_no_vectors() -> None:
    epoch, tensors = _conv(600, 8, 3)
    assert vector_bytes(replace(epoch.ops[0], where=Where.SW), tensors, DK) == 0


@pytest.mark.parametrize(("version", "slowest"), [("2.1", 8192 * 0.15625), ("3.0", 8192 * 1.25), ("4.0", 8192 * 1.25)])
def test_true_depthwise_layers_stream_single_bytes(version: str, slowest: float) -> None:
    """32 x 16 x 16 bytes: packed 0.15625 cycles each, alone 1.25 ([#streams])."""
    found = _traffic(_conv(32, 32, 16, kernel=3, groups=32), TARGETS[version])["npuRAM5"]
    assert found.slowest == pytest.approx(slowest)


@pytest.mark.parametrize(
    ("kind", "channels", "packed"), [("Transpose", 8, False), ("Identity", 8, True), ("Identity", 7, False)]
)
def test_layouts_are_written_byte_by_byte(kind: str, channels: int, packed: bool) -> None:
    """A transpose, and the copy of an image of fewer than eight planes."""
    tensors = {name: _tensor(name, 1, channels, 4, 4) for name in "xy"}
    op = Op("o", kind, ("x",), ("y",))
    found = _traffic((Epoch(1, Where.HW, (op,), ("x",), ("y",)), tensors))["npuRAM5"]
    assert found.slowest == pytest.approx(16 * channels * (0.15625 if packed else 1.25))


def test_constants_are_no_activations_and_small_ones_no_stream() -> None:
    tensors = {"x": _tensor("x", 1, 8, 4, 4), "y": _tensor("y", 1, 8, 4, 4)}
    tensors |= {"map": _tensor("map", 8, 4, 4, constant=True), "one": _tensor("one", 1, 1, constant=True),
                "row": _tensor("row", 8, constant=True)}  # fmt: skip
    for name, streamed in (("map", 128), ("one", 0), ("row", 0)):
        op = Op("a", "Add", ("x", name), ("y",))
        found = _traffic((Epoch(1, Where.HW, (op,), ("x", name), ("y",)), tensors))
        assert found["npuRAM5"].reads == 128
        assert (found["octoFlash"].reads if "octoFlash" in found else 0) == streamed


def test_the_slowest_of_units_pools_and_streams_is_the_estimate() -> None:
    """A dense layer of 1 MiB of weights waits for flash, 6 cycles a byte; a 3x3 layer for its units."""
    epoch, tensors = _conv(1024, 1024, 1)
    traffic = _traffic((epoch, tensors))
    vectors = 4 * 1024
    assert max_cycles(epoch, tensors, traffic, DK) == 6 * (1024 * 1024 + vectors)
    epoch, tensors = _conv(32, 32, 32, kernel=3, zero=5)
    assert max_cycles(epoch, tensors, _traffic((epoch, tensors)), DK) == 65_536


@pytest.mark.parametrize(
    ("kind", "cycles"),
    [("Softmax", 2 * 128), ("Resize", 1.25 * 128), ("Transpose", 128), ("QuantizeLinear", 2 * 128), ("Conv", 9000 / 9),
     ("Mul", 3 * 128), ("NeverSeen", 2 * 128)],
)  # fmt: skip
def test_placeholders_of_software(kind: str, cycles: float) -> None:
    """[#placeholders]: two an element unless said, a byte of a move one, a ninth of a convolution's multiplications."""
    tensors = {name: _tensor(name, 1, 8, 4, 4) for name in "xy"}
    op = Op("s", kind, ("x",), ("y",), where=Where.SW, macs=9000)
    epoch = Epoch(1, Where.SW, (op,), ("x",), ("y",))
    assert max_cycles(epoch, tensors, {}, DK) == pytest.approx(cycles)


def test_reshapes_alone_are_idle() -> None:
    tensors = {"x": _tensor("x", 1, 8), "y": _tensor("y", 8, 1)}
    view = Op("v", "Reshape", ("x",), ("y",), where=Where.NONE)
    for kind in (Where.NONE, Where.HW):
        epoch = Epoch(1, kind, (view,), ("x",), ("y",))
        assert is_idle(epoch) and max_cycles(epoch, tensors, {}, DK) == 0
    assert not is_idle(Epoch(1, Where.HW, (view, Op("r", "Relu", ("x",), ("y",))), ("x",), ("y",)))


def test_weights_go_to_read_only_memory_first_and_on_chip_last() -> None:
    assert [pool.name for pool in constant_pools(DK)] == ["octoFlash", "hyperRAM"]
    inner = replace(DK, pools=tuple(pool for pool in DK.pools if not pool.external))
    rates = [pool.cycles_per_byte for pool in constant_pools(inner)]
    assert rates == sorted(rates) and len(rates) == len(inner.pools)


def test_the_rate_of_a_pool_changes_cycles_and_no_bytes() -> None:
    hyper = next(pool for pool in DK.pools if pool.name == "hyperRAM")
    pair = _conv(48, 24, 10)
    inside, outside = _traffic(pair)["npuRAM5"], _traffic(pair, pool=hyper)["hyperRAM"]
    assert (inside.reads, inside.writes) == (outside.reads, outside.writes)
    assert outside.slowest == pytest.approx(inside.slowest * 2.5 / 0.15625)
    assert FLASH.cycles_per_byte == 6
