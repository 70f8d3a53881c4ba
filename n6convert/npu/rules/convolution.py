"""Where convolutions, matrix products and pools run ([#onnx-operators], [#geometry])."""

from __future__ import annotations

import math

from n6convert.npu.ir import FOUR_BIT, Where
from n6convert.npu.rules.base import DEPTHWISE_REST, Subject, rule
from n6convert.npu.rules.limits import HW_STRIDES, POOL_STRIDE, UNIT_CHANNELS

_CONV = ("Conv", "ConvTranspose")
_PRODUCT = ("Gemm", "MatMul")


def _pair(subject: Subject, name: str, default: int = 1) -> tuple[int, int]:
    value = subject.attribute(name) or [default, default]
    return (int(value[0]), int(value[-1])) if len(value) > 1 else (1, int(value[0]))


@rule(
    "Conv",
    "ConvTranspose",
    "Gemm",
    "MatMul",
    where=Where.SW,
    as_float=True,
    without="int4_weights",
    evidence="release notes of 3.0.0 ([#four-bit-weights]): 4-bit weights on the NPU since then, not available before",
    remedy="compile with core 3.0 or later, or keep these weights in 8 bits",
)
def four_bit_weights_before_3_0(s: Subject) -> bool:
    """Cores before 3.0 have no 4-bit weights: the import may refuse them; in float they run on the M55."""
    weights = s.input(1)
    return weights is not None and weights.dtype in FOUR_BIT


@rule(
    "Conv",
    where=Where.SW,
    evidence="seen 48/48 (r15, core 2.2) and in other networks on 4.0",
    remedy="keep convolution weights constant",
)
def conv_weights_from_activation(s: Subject) -> bool:
    """A convolution whose weights are computed at run time is executed by the M55 in int8."""
    weights = s.input(1)
    return weights is not None and not weights.constant


@rule(
    "Conv",
    where=Where.SW,
    evidence="seen once: kernel (2, 5) with stride (1, 3)",
    remedy="use a horizontal stride of 1, 2 or 4",
)
def conv_stride_not_native(s: Subject) -> bool:
    """A horizontal stride other than {HW_STRIDES} that does not divide the kernel width falls back to the M55, in int8
    (the fallback order is documented)."""
    stride = _pair(s, "strides")[1]
    kernel = _pair(s, "kernel_shape")[1]
    return stride not in HW_STRIDES and kernel > stride and kernel % stride != 0


@rule(
    DEPTHWISE_REST,
    "Conv",
    where=Where.SW,
    as_float=True,
    evidence="seen 3/3 (r07: 7x7 depthwise on a 7x7 map); a 7x6 kernel stayed on the NPU (r09a)",
    remedy="write it as a product and a mean, or use a kernel at most 6 wide",
    rewrite="full-map-depthwise",
)
def depthwise_rest(s: Subject) -> bool:
    """A depthwise kernel wider than {KERNEL_WIDTH} that covers the whole map leaves sub-kernels one column wide, which
    the M55 computes in float."""
    return s.node.op == DEPTHWISE_REST


@rule(
    "Conv",
    where=Where.SW,
    evidence="seen 16/16 elsewhere (3.0, squeeze-and-excite gates); its kind (int8) is inferred",
    remedy="widen the layer to two channels, with one row of zeros",
)
def conv_of_single_value(s: Subject) -> bool:
    """A convolution that reads a single value (one channel, a 1x1 map) is executed by the M55."""
    return s.data[0].elements == 1


@rule(
    "Conv",
    where=Where.SW,
    evidence="seen 6/6 elsewhere (257 channels on 2.0 and 2.2; 257 output channels stay on the NPU); limit inferred",
    remedy="pad the channels to a number with small divisors",
)
def conv_of_prime_channels(s: Subject) -> bool:
    """A 1x1 convolution needs a number of channels that a unit takes at once, at most {UNIT_CHANNELS}: a larger prime
    number of input channels falls back to the M55, in int8."""
    weights = s.input(1)
    if weights is None or math.prod(weights.shape[2:]) > 1 or len(weights.shape) < 3:
        return False
    channels = weights.shape[1]
    return channels > UNIT_CHANNELS and all(channels % d for d in range(2, math.isqrt(channels) + 1))


@rule("Conv", where=Where.HW, evidence="seen in every report: all convolutions with constant int8 weights")
def conv_constant_weights(s: Subject) -> bool:
    """1-D and 2-D convolutions with constant weights run on the CONV_ACC units."""
    return True


@rule(
    "ConvTranspose",
    where=Where.HW,
    evidence="seen r39 (3/3) and in another network: two convolutions on the NPU, zero stuffing in software",
    remedy="resize and convolve",
)
def conv_transpose(s: Subject) -> bool:
    """Transposed convolution is zero stuffing (Concat and DepthToSpace) followed by two convolutions on the NPU."""
    return True


@rule(
    "MatMul",
    where=Where.SW,
    evidence="seen 48/48 (r15), and in other networks on 4.0",
    remedy="write the product of two activations as a broadcast multiplication and a mean",
    rewrite="matmul-to-mul-mean",
)
def matmul_of_activations(s: Subject) -> bool:
    """A product of two activations becomes one software convolution for every matrix of the batch (for every head)."""
    return len(s.data) > 1


@rule(
    "Gemm",
    where=Where.SW,
    as_float=True,
    evidence="documented; an activation as third input crashes the import ([#import-2])",
    remedy="keep weights and bias constant",
)
def gemm_with_activation_parameters(s: Subject) -> bool:
    """Gemm needs constant weights and a constant bias."""
    return len(s.data) > 1


@rule(*_PRODUCT, where=Where.HW, evidence="seen 31/31 (r15), r01, r07, r10", rewrite="linear-to-conv")
def product_with_constant(s: Subject) -> bool:
    """A product with constant weights is a 1x1 convolution; more than one row costs two layout epochs."""
    return True


@rule(
    "MaxPool",
    "AveragePool",
    where=Where.SW,
    evidence="documented",
    remedy="use strides up to 15",
)
def pool_stride_too_large(s: Subject) -> bool:
    """Pools need strides of 1 to {POOL_STRIDE}."""
    return max(_pair(s, "strides")) > POOL_STRIDE


@rule("MaxPool", "AveragePool", where=Where.HW, evidence="documented; seen r01, r02, r05, r27, r31, r32, r41, r56")
def pool(s: Subject) -> bool:
    """Pools run on the POOL units; windows above {POOL_WINDOW}x{POOL_WINDOW} are decomposed, 5x5 into a padding
    convolution and two 3x3 pools."""
    return True
