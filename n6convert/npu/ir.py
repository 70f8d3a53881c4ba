"""The one graph form that every reader produces and every later step (placement, epochs, cycles, memory) reads.

Shapes are those of ONNX: activations of rank 4 are ``[N, C, H, W]``, convolution weights ``[O, I, kh, kw]``. Operator
kinds are spelled as ST's compiler reports print them (``Conv``, ``Swish``, ``DepthToSpace``, ``DequantizeLinear``).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = [
    "FOUR_BIT",
    "ITEM_BYTES",
    "ConvGeometry",
    "Epoch",
    "EpochCounts",
    "Lowered",
    "Op",
    "OperatorReport",
    "PlacementReport",
    "Schedule",
    "Tensor",
    "Units",
    "Where",
]

ITEM_BYTES: Mapping[str, int] = {
    "bool": 1,
    "int8": 1,
    "uint8": 1,
    "int16": 2,
    "uint16": 2,
    "float16": 2,
    "bfloat16": 2,
    "int32": 4,
    "uint32": 4,
    "float32": 4,
    "int64": 8,
    "uint64": 8,
    "float64": 8,
}
"""Bytes of one element by element type; types not listed (strings) never reach the NPU model."""

FOUR_BIT = frozenset({"int4", "uint4"})
"""Types of weights of which two share a byte."""


class Where(StrEnum):
    """Who executes an operator or an epoch: the NPU, both, the Cortex-M55, or nobody (no work)."""

    HW = "hw"
    HYBRID = "hybrid"
    SW = "sw"
    NONE = "none"


@dataclass(slots=True)
class Tensor:
    """A named array; ``scale`` and ``zero_point`` are set when it is quantized (weights: those of channel 0)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None
    constant: bool = False
    per_channel: bool = False
    """Weights with one scale per output channel."""
    zero: bool = False
    """A constant known to hold zeros only."""

    @property
    def elements(self) -> int:
        """Number of elements; 1 for a scalar."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the plain array (no padding, no compiler inflation)."""
        if self.dtype in FOUR_BIT:
            return -(-self.elements // 2)
        return self.elements * ITEM_BYTES.get(self.dtype, 1)

    @property
    def quantized(self) -> bool:
        """True for a 4-, 8- or 16-bit integer tensor with a scale."""
        return self.scale is not None and self.dtype in {"int8", "uint8", "int16", "uint16", *FOUR_BIT}


@dataclass(frozen=True, slots=True)
class ConvGeometry:
    """Geometry of a convolution (or of a pool, with ``out_channels == groups``); pairs are (height, width)."""

    out_channels: int
    in_channels: int
    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    """top, left, bottom, right"""
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    in_hw: tuple[int, int] = (1, 1)
    out_hw: tuple[int, int] = (1, 1)

    @property
    def depthwise(self) -> bool:
        """True when every channel is convolved alone."""
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels

    @property
    def group_channels(self) -> int:
        """Input channels that one output channel sees: the I of the weights [O, I, kh, kw]."""
        return self.in_channels // self.groups

    @property
    def weight_shape(self) -> tuple[int, int, int, int]:
        """[O, I, kh, kw] as stored in the model."""
        return (self.out_channels, self.group_channels, *self.kernel)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return math.prod(self.weight_shape) * math.prod(self.out_hw)


@dataclass(frozen=True, slots=True)
class Units:
    """Processing units that one operator needs inside its epoch ([#units])."""

    conv: int = 0
    arith: int = 0
    activ: int = 0
    pool: int = 0

    def __add__(self, other: Units) -> Units:
        return Units(self.conv + other.conv, self.arith + other.arith, self.activ + other.activ, self.pool + other.pool)

    def within(self, limit: Units) -> bool:
        """True when no kind of unit is used more often than ``limit`` allows."""
        return (
            self.conv <= limit.conv
            and self.arith <= limit.arith
            and self.activ <= limit.activ
            and self.pool <= limit.pool
        )


@dataclass(slots=True, eq=False)
class Op:
    """One operator as the compiler sees it after lowering.

    ``inputs[0]`` is the data tensor; constants (weights, bias, parameters) follow. ``repeat`` says how many equal
    epochs this entry stands for (one SW Conv per attention head). ``sources`` are the ONNX nodes it came from; empty
    when the compiler inserts it.
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    where: Where = Where.HW
    float: bool = False
    rule: str = ""
    reason: str = ""
    evidence: str = ""
    remedy: str | None = None
    rewrite: str | None = None
    """Name of the rewrite that would bring it back to the NPU."""
    conv: ConvGeometry | None = None
    units: Units = Units()
    attributes: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()
    repeat: int = 1
    macs: int = 0
    """Multiply-accumulates, over all repeats; 0 for everything that is not a convolution or a matrix product."""


@dataclass(slots=True)
class Lowered:
    """Operators in execution order with the tensors between them."""

    ops: list[Op]
    tensors: dict[str, Tensor]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    name: str = ""
    notes: list[str] = field(default_factory=list)
    style: str = ""
    """How the file stores its quantization: ``qdq``, ``qoperator``, ``tflite`` or ``float``."""


@dataclass(slots=True)
class Epoch:
    """What the compiler schedules as a unit: ``inputs`` and ``outputs`` are the tensors that cross its border."""

    id: int
    kind: Where
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def printed(self) -> str:
        """The operator name as ST's report prints it for SW and hybrid epochs."""
        return "+".join(op.kind for op in self.ops)

    @property
    def units(self) -> Units:
        """Units that are busy in this epoch."""
        return sum((op.units for op in self.ops), Units())


@dataclass(slots=True)
class Schedule:
    """Epochs in execution order; ``blobs`` are the (first, last) ids of runs of HW epochs for the epoch controller."""

    epochs: list[Epoch]
    blobs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class EpochCounts:
    """Epochs by kind; epochs without work are not counted."""

    total: int
    hw: int
    hybrid: int
    sw: int

    @classmethod
    def of(cls, epochs: Sequence[Epoch]) -> EpochCounts:
        """Count a schedule."""
        kinds = Counter(epoch.kind for epoch in epochs)
        hw, hybrid, sw = kinds[Where.HW], kinds[Where.HYBRID], kinds[Where.SW]
        return cls(hw + hybrid + sw, hw, hybrid, sw)

    @property
    def offload(self) -> float:
        """HW epochs / all epochs, as published (0..1); 0 for an empty schedule."""
        return self.hw / self.total if self.total else 0.0


@dataclass(slots=True)
class OperatorReport:
    """One line of ``report.json``'s ``placement.operators[]``."""

    name: str
    op: str
    where: Where
    epoch: int
    reason: str
    rule: str
    evidence: str
    remedy: str | None = None
    rewrite: str | None = None
    macs: int = 0
    cycles: int | None = None
    microseconds: float | None = None
    sources: tuple[str, ...] = ()
    float: bool = False
    bound: str | None = None
    """What its epoch waits for: compute, flash, memory, external, software or hybrid."""


@dataclass(slots=True)
class PlacementReport:
    """``report.json``'s ``placement``: ST's counts, and the shares of MACs and time beside the offload rate."""

    epochs: EpochCounts
    offload: float
    sw_ops: dict[str, int]
    hybrid_ops: dict[str, int]
    operators: list[OperatorReport]
    blobs: int = 0
    mac_share: float | None = None
    """Share of the multiply-accumulates that the NPU executes (0..1)."""
    time_share: float | None = None
    """Share of the predicted time spent in HW epochs (0..1)."""
    edges: list[tuple[int, int]] = field(default_factory=list)
    """Epochs by number, first the one that writes and then the one that reads a tensor of it."""
