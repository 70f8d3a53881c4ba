"""How the compiler takes operators apart: each mechanism on a small network, with the numbers of the reports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from nets.qdq import QdqBuilder

from n6convert.errors import RecipeError
from n6convert.npu.cycles import conv_plan, depthwise_group, op_cycles
from n6convert.npu.ends import Ends
from n6convert.npu.estimation import estimate
from n6convert.npu.ir import ConvGeometry, Lowered, Schedule, Where
from n6convert.npu.memory import accumulators, lifetimes
from n6convert.npu.placement import place, read, report

Version = tuple[int, int]
Build = Callable[[QdqBuilder], str]


LAST = Ends(output_channels="chlast")
"""Outputs as the NPU writes them."""


def _placed(build: Build, version: Version = (2, 1), ends: Ends = LAST) -> tuple[Lowered, Schedule]:
    builder = QdqBuilder("one", opset=18)
    builder.output(build(builder))
    return place(read(builder.model()), version, ends=ends)


def _epochs(build: Build, version: Version = (2, 1), ends: Ends = LAST) -> list[str]:
    """Operators of every epoch, software in capitals, reshapes left out."""
    found = []
    for epoch in _placed(build, version, ends)[1].epochs:
        kinds = "+".join(op.kind for op in epoch.ops if op.where is not Where.NONE)
        found.append(kinds if epoch.kind is Where.HW else kinds.upper())
    return found


def _conv(b: QdqBuilder, x: str, channels: int, out: int, kernel: int, **attributes: list[int]) -> str:
    weights = b.weight(out, channels, kernel, kernel)
    return b.op("Conv", x, weights, b.bias(out), kernel_shape=[kernel, kernel], **attributes)  # type: ignore[arg-type]


@pytest.mark.parametrize(("version", "off"), [((2, 0), "sw"), ((2, 1), "sw"), ((4, 0), "hybrid")])
def test_dilated_convolution(version: Version, off: str) -> None:
    def build(b: QdqBuilder) -> str:
        return _conv(b, b.input(1, 1, 20, 20), 1, 8, 3, dilations=[4, 4], pads=[4, 4, 4, 4])

    lowered, schedule = _placed(build, version)
    assert [op.kind for op in lowered.ops] == ["SpaceToDepth", "Conv", "DepthToSpace"]
    found = report(schedule, version)
    assert (found.sw_ops if off == "sw" else found.hybrid_ops) == {"SpaceToDepth": 1, "DepthToSpace": 1}
    conv = next(op.conv for op in lowered.ops if op.kind == "Conv")
    assert conv is not None and conv.dilations == (1, 1) and conv.in_hw == (20, 20)
    assert lowered.tensors[lowered.ops[1].inputs[0]].shape == (1, 16, 5, 5)


def test_dilation_of_one_tap_is_none() -> None:
    assert _epochs(lambda b: _conv(b, b.input(1, 1, 9, 9), 1, 8, 1, dilations=[3, 3])) == ["Conv"]


def test_kernel_that_covers_its_map() -> None:
    def build(b: QdqBuilder) -> str:
        return _conv(b, b.conv(b.input(1, 1, 3, 3), 1, 32), 32, 1, 3)

    assert _epochs(build, (2, 1))[-2:] == ["SPACETODEPTH", "Conv"]
    lowered, _ = _placed(build, (2, 2))
    assert [op.kind for op in lowered.ops][-3:] == ["Sub", "SpaceToDepth", "Conv"]
    assert lowered.tensors[lowered.ops[-1].inputs[0]].dtype == "int16"
    assert lowered.ops[-1].conv is not None and lowered.ops[-1].conv.in_channels == 288
    older, _ = _placed(build, (2, 1))
    offset = older.tensors[older.ops[-1].inputs[0]]
    assert (offset.dtype, offset.zero_point) == ("int8", 0)


@pytest.mark.parametrize(("channels", "where"), [(257, Where.SW), (251, Where.SW), (127, Where.HW), (256, Where.HW)])
def test_large_primes_have_no_divisor_that_fits(channels: int, where: Where) -> None:
    lowered, _ = _placed(lambda b: b.conv(b.input(1, channels, 8, 8), channels, 64))
    assert lowered.ops[-1].where is where and not lowered.ops[-1].float


def test_convolution_of_a_single_value() -> None:
    lowered, _ = _placed(lambda b: b.conv(b.input(1, 1, 1, 1), 1, 16), (3, 0))
    assert [(op.kind, op.where) for op in lowered.ops] == [("Conv", Where.SW)]


def _prelu(b: QdqBuilder, x: str, channels: int) -> str:
    return b.op("PRelu", x, b.weight(channels, 1, 1))


def test_prelu_is_two_epochs() -> None:
    behind_conv = _epochs(lambda b: _prelu(b, b.conv(b.input(1, 1, 24, 24), 1, 32), 32))
    assert behind_conv == ["Conv+Clip+Mul", "Add+Relu+Add"]

    def residual(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 1, 24, 24), 1, 32)
        return _prelu(b, b.op("Add", x, b.conv(x, 32, 32)), 32)

    assert _epochs(residual) == ["Conv", "Conv", "Add+Clip+Mul+Add", "Relu+Add"]


@pytest.mark.parametrize(("channels", "software"), [(16, 2), (32, 1), (28, 2)])
def test_channel_pad_behind_a_pool(channels: int, software: int) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 1, 24, 24), 1, channels)
        x = b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        return b.op("Pad", x, b.constant(np.array([0, 0, 0, 0, 0, channels, 0, 0])))

    lowered, schedule = _placed(build)
    assert report(schedule, (2, 1)).sw_ops == {"Transpose": software}
    padding = next(op for op in reversed(lowered.ops) if op.conv is not None)
    assert lowered.tensors[padding.outputs[0]].shape == (1, 12, 2 * channels, 12), "its rows are channels"
    assert op_cycles(padding, lowered.tensors, (2, 1)) == 12 * 2 * channels * 12


def test_swish_on_2_0_corrects_its_zero_point_apart() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 1, 32, 32), 1, 16)
        return b.op("Mul", x, b.op("Sigmoid", x, zero=-128))

    assert _epochs(build, (2, 0)) == ["Conv+Sigmoid", "Mul", "Add"]
    assert _epochs(build, (4, 0)) == ["Conv+Swish"]
    lowered, _ = _placed(build, (2, 0))
    assert lowered.tensors[lowered.ops[2].outputs[0]].dtype == "int16"


@pytest.mark.parametrize(("out", "joined"), [(8, True), (32, True), (12, False)])
def test_first_convolution_takes_the_depthwise_one_along(out: int, joined: bool) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Relu", b.conv(b.input(1, 3, 32, 32), 3, out, 3, 2), zero=-128)
        return b.op("Relu", b.conv(x, out, out, 3, group=out), zero=-128)

    assert ("Conv+Conv" in _epochs(build, (2, 1))) is joined
    assert "Conv+Conv" not in _epochs(build, (3, 0))


def test_depthwise_layer_with_a_stride_does_not_follow_a_convolution() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Relu", b.conv(b.input(1, 3, 32, 32), 3, 16, 3, 2), zero=-128)
        return b.op("Relu", b.conv(x, 16, 16, 3, stride=2, group=16), zero=-128)

    assert "Conv+Conv" not in _epochs(build, (2, 0))


@pytest.mark.parametrize(("channels", "joined"), [(8, True), (16, False)])
def test_pointwise_layer_behind_a_depthwise_scale_takes_one_block(channels: int, joined: bool) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Relu", b.conv(b.input(1, 3, 32, 32), 3, channels, 3, 2), zero=-128)
        x = b.op("Relu", b.conv(x, channels, channels, 3, group=channels), zero=-128)
        return b.op("Relu", b.conv(x, channels, 32), zero=-128)

    found = _epochs(build, (2, 0))
    assert "Conv+Conv" in found
    assert ("Add+Conv" in found) is joined


@pytest.mark.parametrize(
    ("version", "zero", "kernel", "channels", "group"),
    [
        ((2, 1), True, 3, 64, 8), ((2, 1), False, 3, 64, 8), ((2, 2), False, 3, 64, 4), ((2, 2), True, 3, 64, 8),
        ((2, 1), True, 5, 64, 1), ((2, 2), True, 3, 28, 1), ((2, 2), False, 3, 28, 4), ((3, 0), True, 3, 64, 1),
    ],
)  # fmt: skip
def test_depthwise_blocks(version: Version, zero: bool, kernel: int, channels: int, group: int) -> None:
    geometry = ConvGeometry(channels, channels, (kernel, kernel), groups=channels, in_hw=(24, 24), out_hw=(24, 24))
    assert depthwise_group(geometry, zero, version) == group


@pytest.mark.parametrize(
    ("shape", "fast", "version", "side", "plan"),
    [
        ((672, 112), False, (2, 1), 14, (14, 4, 263_424)),
        ((112, 672), True, (2, 1), 14, (112, 3, 102_443)),
        ((192, 1152), True, (2, 1), 7, (128, 3, 73_728)),
        ((128, 128), False, (2, 1), 3, (16, 1, 16_384)),
        ((128, 128), True, (2, 2), 14, (128, 1, 66_902)),
        ((28, 24), False, (2, 2), 64, (24, 1, 196_608)),
    ],
)
def test_published_plans(
    shape: tuple[int, int], fast: bool, version: Version, side: int, plan: tuple[int, int, int]
) -> None:
    found = conv_plan(ConvGeometry(*shape, (1, 1), in_hw=(side, side), out_hw=(side, side)), fast, version)
    assert (found.batch, found.units, int(np.ceil(found.cycles))) == plan


def test_shift_behind_software_is_an_epoch() -> None:
    def build(b: QdqBuilder) -> str:
        return b.conv(b.op("Softmax", b.conv(b.input(1, 1, 32, 32), 1, 32), axis=1, zero=-128), 32, 32)

    assert _epochs(build) == ["Conv", "SOFTMAX", "Sub", "Conv"]


def test_ends_of_the_network() -> None:
    def build(b: QdqBuilder) -> str:
        return b.conv(b.input(1, 3, 16, 16), 3, 32, 3)

    assert _epochs(build) == ["Identity", "Conv"]
    assert _epochs(build, ends=Ends()) == ["Identity", "Conv", "Transpose"]
    assert _epochs(build, ends=Ends(input_channels="chlast", output_channels="chlast")) == ["Conv"]
    as_float = _epochs(build, ends=Ends("float32", "float32"))
    assert sorted(as_float) == ["Conv", "DEQUANTIZELINEAR", "Identity", "QUANTIZELINEAR"]
    assert _epochs(build, ends=Ends("uint8", None, "chlast", "chlast")) == ["Add", "Conv"]
    with pytest.raises(RecipeError, match="--output-data-type"):
        Ends(output_type="int16")


def test_float_ends_of_a_tflite_file(neuralart_dir: Path) -> None:
    model = next((neuralart_dir / "reports").glob("r27_*/*.tflite"))
    as_is = report(place(read(model), (2, 2))[1], (2, 2))
    assert {"QuantizeLinear", "DequantizeLinear"} <= as_is.sw_ops.keys()
    integer = report(place(read(model), (2, 2), ends=Ends("uint8", "int8"))[1], (2, 2))
    assert integer.sw_ops == {"Transpose": 4, "SpaceToDepth": 2}


def test_four_bit_weights(data_dir: Path) -> None:
    path = data_dir / "weights" / "yolov8n_256_w4a8.onnx"
    new, old = (estimate(path, f"stm32n6570-dk@{version}") for version in ("3.0", "2.2"))
    assert new.placement.sw_ops == {"Softmax": 1}
    assert new.costs.memory.weights == pytest.approx(1_758_000, rel=0.01)
    assert old.placement.sw_ops["Conv"] > 20, "no 4-bit weights before 3.0"
    reason = next(op for op in old.lowered.ops if op.rule == "four-bit-weights-before-3-0")
    assert reason.float and "3.0" in (reason.remedy or "")


def test_concat_that_is_an_output_costs_nothing_from_3_0() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 1, 16, 16), 1, 32)
        return b.op("Concat", b.conv(x, 32, 12), b.conv(x, 32, 3), b.conv(x, 32, 3), axis=1)

    assert report(_placed(build, (3, 0))[1], (3, 0)).hybrid_ops == {}
    assert report(_placed(build, (2, 1))[1], (2, 1)).sw_ops == {"Concat": 1}


def test_channel_last_input_is_no_work() -> None:
    def build(b: QdqBuilder) -> str:
        return b.conv(b.op("Transpose", b.input(1, 16, 16, 3), zero=0, perm=[0, 3, 1, 2]), 3, 32, 3)

    assert _epochs(build, (4, 0)) == ["Conv"]
    assert _epochs(build, (2, 1)) == ["", "Conv"], "an epoch without work"


def test_passes_exchange_sums_with_memory() -> None:
    lowered, schedule = _placed(lambda b: b.conv(b.input(1, 256, 7, 7, zero=5), 256, 128), (2, 1))
    found = accumulators(lowered, schedule, (2, 1))
    assert [(buffer.size, buffer.last - buffer.first) for buffer in found] == [(2 * 16 * 49, 1)]


@pytest.mark.parametrize(("kernels", "hybrid"), [((1, 1), True), ((1, 3), False), ((3,), False)])
def test_split_for_two_pointwise_layers(kernels: tuple[int, ...], hybrid: bool) -> None:
    def build(b: QdqBuilder) -> str:
        first, second = b.ops("Split", [b.conv(b.input(1, 1, 16, 16), 1, 64)], 2, axis=1, num_outputs=2)
        made = [b.conv(second, 32, 32, kernel) for kernel in kernels]
        return b.op("Sigmoid", b.op("Concat", first, *made, axis=1))

    assert (report(_placed(build, (4, 0))[1], (4, 0)).hybrid_ops == {"Split": 1}) is hybrid
    assert report(_placed(build, (2, 1))[1], (2, 1)).sw_ops == {}


def test_batch_normalization_in_float_by_rank() -> None:
    def on_map(b: QdqBuilder) -> str:
        x = b.op("Sigmoid", b.input(1, 8, 16, 16), pair=False)
        return b.op("BatchNormalization", x, *(b.constant(np.ones(8, np.float32)) for _ in range(4)), pair=False)

    def on_row(b: QdqBuilder) -> str:
        x = b.op("Sigmoid", b.input(1, 8), pair=False)
        return b.op("BatchNormalization", x, *(b.constant(np.ones(8, np.float32)) for _ in range(4)), pair=False)

    assert "BATCHNORMALIZATION" in _epochs(on_map)
    assert {"MUL", "ADD"} <= set(_epochs(on_row)) and "BATCHNORMALIZATION" not in _epochs(on_row)


def test_linear_layer_in_float_is_a_convolution_and_a_sum() -> None:
    """The three of r58: Conv, Add and a Tanh that works in place."""

    def build(b: QdqBuilder) -> str:
        x = b.input(1, 400)
        for inner, out in ((400, 120), (120, 84)):
            x = b.op("Tanh", b.op("Gemm", x, b.weight(inner, out), b.bias(out)))
        return b.op("MatMul", x, b.weight(84, 10))

    builder = QdqBuilder("linear", opset=17, quantized=False)
    builder.output(build(builder))
    lowered, schedule = place(read(builder.model()), (2, 2))
    assert report(schedule, (2, 2)).sw_ops == {"Conv": 3, "Add": 2, "Tanh": 2}
    sizes = [buffer.size for buffer in lifetimes(lowered, schedule)]
    assert sizes == [4 * n for n in (400, 120, 120, 84, 84, 10)], "no buffer of its own for a Tanh"


@pytest.mark.parametrize("version", [(2, 0), (2, 2), (4, 0)])
@pytest.mark.parametrize(("zeros", "units"), [((3, -128), 3), ((0, -128), 2), ((3, 0), 2), ((0, 0), 1)])
def test_a_product_is_corrected_for_zero_points_that_are_not_0(
    zeros: tuple[int, int], units: int, version: Version
) -> None:
    """r31: Mul_316 has one Add behind it, since one factor has zero point 0, the 63 others have two; r52 and r27
    agree."""

    def build(b: QdqBuilder) -> str:
        a, c = (b.op("Add", b.input(1, 8, 16, 16, name=n), b.input(1, 8, 16, 16, name=f"{n}{n}"), zero=z)
                for n, z in zip("ac", zeros, strict=True))  # fmt: skip
        return b.op("Mul", a, c, zero=0)

    assert [op.units.arith for op in _placed(build, version)[0].ops if op.kind == "Mul"] == [units]


@pytest.mark.parametrize(("zero", "epochs"), [(0, 2), (3, 4)])
def test_two_summed_products_share_an_epoch_where_their_factors_have_zero_point_0(zero: int, epochs: int) -> None:
    """Each takes one ARITH unit, its mean another one and a pool; chains run side by side (seen r15, r29, r52)."""

    def build(b: QdqBuilder) -> str:
        whole = b.input(1, 32, 16, 64, zero=zero)
        rows = [b.input(1, 32, 1, 64, name=f"row{i}", zero=zero) for i in range(4)]
        sums = [b.op("GlobalAveragePool", b.reshape(b.op("Mul", whole, row, zero=zero), 1, 512, 64)) for row in rows]
        return b.op("Concat", *sums, axis=1)

    assert sum("GlobalAveragePool" in epoch for epoch in _epochs(build, (4, 0))) == epochs
