"""Compute cycles: what the processing units of one epoch need ([#compute-cycles]), per operator and per epoch.

Assumptions, as the compiler makes them: one accumulator output per cycle and pass, one weight byte per cycle (three in
deep mode), elementwise and pooling units one element per cycle, copies nothing. The zero point of a convolution's input
decides the multiplier mode ([#zero-points]): -128 and 0 give 8x8 bits, everything else 16x8.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from n6convert.graph.operators import MOVES
from n6convert.npu.ir import ConvGeometry, Epoch, Op, Tensor, Where
from n6convert.npu.rules.limits import KERNEL_HEIGHT, KERNEL_WIDTH, KERNEL_WIDTH_STRIDED, SMALL_MAP
from n6convert.operators.versions import has

__all__ = [
    "ConvPlan",
    "conv_plan",
    "depthwise_group",
    "epoch_cycles",
    "is_fast",
    "is_split",
    "largest_divisor",
    "op_cycles",
    "plan_of",
]

MAX_UNITS = 4
DEEP_BATCH = 128
"""Input channels that one unit takes in deep mode ([#convolution-plan])."""
DEEP_ABOVE = 24
"""Deep mode is considered above this number of input channels ([#convolution-plan])."""
INFLATED_GROUP = 8
NARROW = 24
"""Below this map width 3x3 layers keep eight kernels per pass in 16x8 mode (eight at 16: r02, r31; four at 24: r27)."""

COPIES = MOVES | {"Concat"}
"""Operators that only move data: 0 compute cycles ([#convolution-plan])."""


@dataclass(frozen=True, slots=True)
class ConvPlan:
    """How a convolution is laid out on the CONV_ACC units.

    ``batch`` channels go to each of ``units`` in series; ``passes`` accumulations cover all input channels; ``kernels``
    output channels are computed per pass over the input; the three times are cycles of the weight, output and input
    streams.
    """

    mode: str
    batch: int
    units: int
    passes: int
    kernels: int
    weights: float
    output: float
    input: float

    @property
    def cycles(self) -> float:
        """Cycles of the slowest of the three streams ([#compute-cycles])."""
        return max(self.weights, self.output, self.input)


def is_fast(zero_point: int | None, dtype: str = "int8") -> bool:
    """True for 8x8-bit multiplication: no negative value (shifted to uint8), or nothing to correct ([#zero-points])."""
    return zero_point is None or zero_point == 0 or (dtype == "int8" and zero_point == -128)


@lru_cache(maxsize=4096)
def conv_plan(geometry: ConvGeometry, fast: bool, version: tuple[int, int], max_units: int = MAX_UNITS) -> ConvPlan:
    """Plan of one convolution for a compiler version ([#convolution-plan]); dense, depthwise or grouped.

    Args:
        geometry: of the convolution.
        fast: whether its input's zero point costs nothing.
        version: of the compiler.
        max_units: CONV_ACC units that it may take.
    """
    if geometry.depthwise:
        return _depthwise(geometry, fast, version)
    if geometry.kernel != (1, 1):
        return _fewest_units(geometry, _spatial(geometry, fast, max_units), version)
    standard = _pointwise(geometry, max_units)
    if not fast or geometry.group_channels <= DEEP_ABOVE:
        return _fewest_units(geometry, standard, version)
    deep = _pointwise_deep(geometry, max_units)
    cheaper = has(version, "cheapest_pointwise_mode") and standard.passes == 1 and standard.cycles < deep.cycles
    return _fewest_units(geometry, standard if cheaper else deep, version)


def largest_divisor(number: int, limit: int) -> int:
    """Largest divisor of ``number`` that is not above ``limit``."""
    return next(d for d in range(min(number, limit), 0, -1) if number % d == 0)


def _kernels(out_channels: int, usual: int, good: int, stretched: int) -> int:
    """Output channels per pass; poor divisors are stretched ([#convolution-plan]: seen for 200, 232, 272 and for 15,
    51)."""
    best = largest_divisor(out_channels, usual)
    if best >= good:
        return best
    return next((d for d in range(usual + 1, stretched + 1) if out_channels % d == 0), best)


def _series(channels: int, limit: int, max_units: int) -> tuple[int, int]:
    """Channels of one unit and number of units in series that take the most channels at once; on a tie the fewest
    units (SEEN r01, r02, r29, r39, r56: 112 is 4 x 14, 672 is 3 x 112 per pass)."""
    choices = [(d, n) for d in range(1, min(channels, limit) + 1) for n in range(1, max_units + 1)]
    fitting = [(d * n, d, n) for d, n in choices if channels % (d * n) == 0]
    _, batch, units = max(fitting)
    return batch, units


def _plan(geometry: ConvGeometry, mode: str, batch: int, units: int, kernels: int, rate: int = 1) -> ConvPlan:
    passes = geometry.group_channels // (batch * units)
    out, pixels = math.prod(geometry.out_hw), _positions(geometry)
    channels = geometry.out_channels
    return ConvPlan(
        mode, batch, units, passes, kernels,
        weights=math.prod(geometry.weight_shape) / rate,
        output=passes * channels * out,
        input=channels / kernels * passes * pixels * batch / rate,
    )  # fmt: skip


def _positions(geometry: ConvGeometry) -> int:
    """Places of the input at which kernels start: without padding fewer than the map has (SEEN r32 only)."""
    sizes = zip(geometry.in_hw, geometry.out_hw, geometry.strides, strict=True)
    return math.prod(min(before, after * stride) for before, after, stride in sizes)


def _fewest_units(geometry: ConvGeometry, plan: ConvPlan, version: tuple[int, int]) -> ConvPlan:
    """Up to 2.2 units that do not make the convolution faster are left to others (SEEN r01, r03, r27, r32, r33)."""
    if not has(version, "fewest_units") or geometry.in_hw == (1, 1) and plan.mode == "standard":
        return plan
    rate = 3 if plan.mode == "deep" else 1
    for units in range(1, plan.units):
        if geometry.group_channels % (plan.batch * units) == 0:
            smaller = _plan(geometry, plan.mode, plan.batch, units, plan.kernels, rate)
            if smaller.cycles <= plan.cycles:
                return smaller
    return plan


def _pointwise(geometry: ConvGeometry, max_units: int) -> ConvPlan:
    batch, units = _series(geometry.group_channels, 24, max_units)
    channels = geometry.out_channels
    stretches = units == 1 and geometry.in_hw[1] <= SMALL_MAP
    kernels = _kernels(channels, 24, batch, 36) if stretches else largest_divisor(channels, 24)
    return _plan(geometry, "standard", batch, units, kernels)


def _pointwise_deep(geometry: ConvGeometry, max_units: int) -> ConvPlan:
    batch, units = _series(geometry.group_channels, DEEP_BATCH, max_units)
    return _plan(geometry, "deep", batch, units, largest_divisor(geometry.out_channels, 24), rate=3)


def _spatial(geometry: ConvGeometry, fast: bool, max_units: int) -> ConvPlan:
    batch, units = _series(geometry.group_channels, 8, max_units)
    wide_16_bit = not fast and geometry.in_hw[1] >= NARROW
    kernels = largest_divisor(geometry.out_channels, 4) if wide_16_bit else _kernels(geometry.out_channels, 8, 6, 17)
    return _plan(geometry, "kernel", batch, units, kernels)


def depthwise_group(geometry: ConvGeometry, fast: bool, version: tuple[int, int]) -> int:
    """Channels that share one depthwise kernel block: cores up to 2.2 store the weights as [O, 8, kh, kw].

    From 2.2 on [O, 4, kh, kw] in 16x8-bit mode (SEEN r27 20 of 20; others agree). Not inflated: kernels
    that are split (SEEN r29 9 of 9, r07) or cover their map (r07, r09a), and channels that make no whole block (SEEN
    r56 3 of 3, r13). None from 3.0 on.

    Args:
        geometry: of a depthwise convolution.
        fast: whether its input's zero point costs nothing.
        version: of the compiler.
    """
    true = has(version, "true_depthwise")
    if true or not geometry.depthwise or geometry.out_hw == (1, 1) or is_split(geometry):
        return 1
    group = 4 if has(version, "depthwise_groups_of_four") and not fast else INFLATED_GROUP
    return group if geometry.out_channels % group == 0 else 1


def is_split(geometry: ConvGeometry) -> bool:
    """True for kernels larger than the native ones, which run as several ([#geometry])."""
    native = KERNEL_WIDTH if geometry.strides[1] == 1 else KERNEL_WIDTH_STRIDED
    return geometry.kernel[0] > KERNEL_HEIGHT or geometry.kernel[1] > native


def _depthwise(geometry: ConvGeometry, fast: bool, version: tuple[int, int]) -> ConvPlan:
    """Up to 2.2 dense on blocks of channels with inflated weights; from 3.0 a mode of its own ([#convolution-plan])."""
    channels, taps = geometry.out_channels, math.prod(geometry.kernel)
    out, pixels = math.prod(geometry.out_hw), math.prod(geometry.in_hw)
    group = depthwise_group(geometry, fast, version)
    if group == 1 and not has(version, "true_depthwise") or geometry.out_hw == (1, 1) or channels < INFLATED_GROUP:
        return ConvPlan("depthwise", 1, 1, 1, 1, channels * taps, channels * out, channels * pixels)
    if group > 1:
        kernels = min(group, 8 if fast or geometry.in_hw[1] < NARROW else 4)
        reread = channels * pixels * group / kernels
        return ConvPlan("depthwise", group, 1, 1, kernels, group * channels * taps, channels * out, reread)
    reread = channels * pixels / 2 if out < pixels else 0
    return ConvPlan("depthwise", 1, 1, 1, 1, channels * taps, channels * out, reread)


def plan_of(op: Op, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> ConvPlan | None:
    """Plan of an operator that runs on the CONV_ACC units; None for every other operator.

    Args:
        op: any operator.
        tensors: by name.
        version: of the compiler.
    """
    if op.conv is None or op.kind != "Conv" or op.where is not Where.HW:
        return None
    source = tensors.get(op.inputs[0]) if op.inputs else None
    return conv_plan(op.conv, source is not None and is_fast(source.zero_point, source.dtype), version)


def op_cycles(op: Op, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> float:
    """Cycles of one HW operator alone (all repeats): convolution plan, 0 for copies, else one element per cycle.

    Args:
        op: a HW operator.
        tensors: by name.
        version: of the compiler.
    """
    plan = plan_of(op, tensors, version)
    if plan is not None:
        return plan.cycles * op.repeat
    if op.kind in COPIES or op.where is Where.NONE:
        return 0.0
    return float(max((_elements(name, tensors) for name in (*op.inputs, *op.outputs)), default=0) * op.repeat)


def _elements(name: str, tensors: Mapping[str, Tensor]) -> int:
    tensor = tensors.get(name)
    return tensor.elements if tensor is not None and not tensor.constant else 0


def epoch_cycles(epoch: Epoch, tensors: Mapping[str, Tensor], version: tuple[int, int]) -> float:
    """Compute cycles of an epoch: its slowest operator, because all run at the same time ([#compute-cycles]).

    Args:
        epoch: of HW operators.
        tensors: by name.
        version: of the compiler.
    """
    return float(math.ceil(max((op_cycles(op, tensors, version) for op in epoch.ops), default=0.0)))
