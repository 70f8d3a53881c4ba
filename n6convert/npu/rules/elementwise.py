"""Where elementwise operators and activations run ([#onnx-operators], [#broadcasting])."""

from __future__ import annotations

import math

from n6convert.npu.ir import Tensor, Where
from n6convert.npu.rules.base import Subject, rule
from n6convert.npu.rules.limits import ARITH_VECTOR, MAX_RANK

_SUMS = ("Add", "Sum", "Sub", "Mul")


def _aligned(tensor: Tensor, rank: int) -> tuple[int, ...]:
    return (1,) * (rank - len(tensor.shape)) + tensor.shape


def _repeats(s: Subject, index: int) -> bool:
    """True when an operand must be repeated along some axis (scalars are no repetition)."""
    tensor = s.input(index)
    if tensor is None or tensor.elements == 1:
        return False
    return _aligned(tensor, len(s.output.shape)) != s.output.shape


@rule(
    *_SUMS,
    where=Where.SW,
    evidence="documented",
    remedy="use at most four dimensions",
)
def elementwise_rank(s: Subject) -> bool:
    """Elementwise operators have at most {MAX_RANK} dimensions on the NPU."""
    return len(s.output.shape) > MAX_RANK


@rule(
    "Mul",
    "Add",
    "Sub",
    "Sum",
    where=Where.SW,
    evidence="seen 12/12 (r15)",
    remedy="multiply the full tensor by one operand after the other",
    rewrite="layernorm-decompose",
)
def both_operands_repeat(s: Subject) -> bool:
    """When both operands are repeated, the M55 computes the result in 16 bits and it is quantized again."""
    return len(s.node.inputs) == 2 and _repeats(s, 0) and _repeats(s, 1)


@rule(
    "Sub",
    where=Where.SW,
    evidence="seen 12/12 (r15); for a scalar constant: third party, in a recurrent network",
    remedy="write const - x as x * (-1) + const",
    rewrite="layernorm-decompose",
)
def repeated_operand_minus_tensor(s: Subject) -> bool:
    """A subtraction whose first operand is repeated, or a constant minus a tensor, is executed by the M55 in int8; the
    second operand may repeat."""
    first = s.input(0)
    scalar = first is not None and first.elements == 1 < s.output.elements
    return scalar or _repeats(s, 0)


@rule(
    *_SUMS,
    where=Where.SW,
    as_float=True,
    without="batch_normalization",
    evidence="inferred from ResNet50v2 (3.0): its memory to the KiB and 80 of the 111 ms; the limit is documented, and "
    "the table of 4.0 has such a BatchNormalization in hardware",
    remedy="fold it into a convolution, or split the map into groups of at most 512 channels",
)
def constant_of_many_channels(s: Subject) -> bool:
    """A constant with one value per channel is held by the ARITH units up to {ARITH_VECTOR} channels; more are computed
    in float by the M55."""
    shape = s.output.shape
    values = (tensor.elements for tensor in s.parameters)
    return len(shape) > 2 and shape[1] > ARITH_VECTOR and math.prod(shape[2:]) > 1 and shape[1] in values


@rule(*_SUMS, where=Where.HW, evidence="seen in every report; one-sided broadcasts 12/12, 12/12 and 6/6 (r15)")
def elementwise(s: Subject) -> bool:
    """Sums, differences and products run on the ARITH units; one operand may be repeated (up to {ARITH_VECTOR} elements
    inside the unit, larger ones through the DMA)."""
    return True


@rule(
    "Div",
    where=Where.SW,
    evidence="documented",
    remedy="multiply by the reciprocal of a constant, or avoid the division",
    rewrite="division-to-product",
)
def division_by_activation(s: Subject) -> bool:
    """A division by an activation is executed by the M55 in int8."""
    divisor = s.input(1)
    return divisor is not None and not divisor.constant


@rule("Div", where=Where.HW, evidence="documented; seen r11")
def division_by_constant(s: Subject) -> bool:
    """A division by a constant is a multiplication on the ARITH units."""
    return True


@rule(
    "Clip",
    where=Where.SW,
    as_float=True,
    evidence="documented: bounds must be initializers",
    remedy="make the bounds constants",
)
def clip_bounds_from_activation(s: Subject) -> bool:
    """Clip needs constant bounds."""
    return len(s.data) > 1


@rule(
    "PRelu",
    where=Where.SW,
    evidence="seen 33/33 in a QDQ model (r09a) and 33/33 with conversions in a QOperator model (r07)",
    remedy="quantize the slope, or write PRelu(x) as Relu(x) - a * Relu(-x)",
    rewrite="prelu-to-relu",
)
def prelu_float_slope(s: Subject) -> bool:
    """PRelu with a slope that is stored as float runs on the M55."""
    slope = s.input(1)
    return slope is None or not slope.quantized


@rule("PRelu", where=Where.HW, evidence="seen 23/23 (r27, on 2.1 and on 2.2) and elsewhere")
def prelu_quantized_slope(s: Subject) -> bool:
    """PRelu with a quantized slope is Relu, Clip, a product and sums on the ACTIV and ARITH units, in two epochs."""
    return True


@rule(
    "Abs",
    where=Where.SW,
    as_float=True,
    evidence="documented",
    remedy="quantize its input symmetrically",
)
def abs_with_zero_point(s: Subject) -> bool:
    """Abs runs on the NPU only when the zero point of its input is 0."""
    return bool(s.data and s.data[0].zero_point)


@rule("Abs", where=Where.HW, evidence="documented")
def abs_symmetric(s: Subject) -> bool:
    """Abs of a symmetric tensor runs on the ACTIV units."""
    return True


@rule("Pow", where=Where.HW, needs="pow", evidence="documented by transcription for 4.0")
def power_constant_exponent(s: Subject) -> bool:
    """From 4.0 a power with a constant exponent runs on the ACTIV units."""
    exponent = s.input(1)
    return exponent is not None and exponent.constant
