"""Sections of ``report.json``: what each part of a conversion found, typed once for all that write and read it."""

from __future__ import annotations

from typing import Any

from n6convert.results.section import Count, Epoch, Number, Place, Section, Text

__all__ = [
    "Advice",
    "Calibration",
    "Cycles",
    "FourBits",
    "Latency",
    "LintFinding",
    "LongEpoch",
    "Memory",
    "MemoryBuffer",
    "OperatorPlace",
    "Quantization",
    "Rewrites",
    "Side",
    "StageFacts",
    "TradePoint",
    "WorstTensor",
]


class LongEpoch(Section):
    """One of the longest epochs, and what would shorten it."""

    epoch: Epoch
    operators: Text
    bound: Text
    milliseconds: Number
    share: Number
    lever: Text | None = None
    gain: Number = 0.0


class Lever(Section):
    """Something that would change the time of the whole network."""

    name: Text
    gain: Number
    how: Text


class Bottlenecks(Section):
    """Where predicted time goes, in milliseconds by what it waits for."""

    milliseconds: dict[str, Number] = {}
    longest: list[LongEpoch] = []
    levers: list[Lever] = []


class Latency(Section):
    """Predicted time of one inference with its interval."""

    milliseconds: Number
    low: Number = 0.0
    high: Number = 0.0
    parts: dict[str, Number] = {}
    assumptions: list[Text] = []
    bottlenecks: Bottlenecks | None = None


class OperatorPlace(Section):
    """Where one operator runs, and why."""

    name: Text
    op: Text
    where: Place
    epoch: Epoch
    microseconds: Number | None = None
    reason: Text
    macs: Count = 0
    bound: Text | None = None
    """What its epoch waits for."""


class EpochCounts(Section):
    """Epochs by who executes them."""

    total: Count
    hw: Count
    hybrid: Count
    sw: Count


class Side(Section):
    """Predicted placement of one graph."""

    epochs: EpochCounts
    offload: Number
    operators: list[OperatorPlace] = []
    sw_ops: dict[str, Count] = {}
    hybrid_ops: dict[str, Count] = {}
    latency: Latency | None = None
    edges: list[tuple[Epoch, Epoch]] = []
    """Epochs that write and read the same tensor."""


class PoolUse(Section):
    """Bytes in use of one memory pool."""

    name: Text
    size: Count
    used: Count
    activations: Count
    weights: Count = 0
    external: bool = False


class MemoryBuffer(Section):
    """One activation buffer: epochs from first to last, and the pool that holds it."""

    name: Text
    bytes: Count
    first: Epoch
    last: Epoch
    pool: Text | None = None


class Memory(Section):
    """Predicted bytes of weights and activations, and where they lie."""

    pools: list[PoolUse]
    weights: Count
    activations: Count
    fits: bool
    missing: Count = 0
    external: Count = 0
    peak: Count = 0
    peak_epoch: Count | None = None
    buffers: list[MemoryBuffer] = []
    tables: Count | None = None
    """Of the package, beside the weights in flash."""


class Cycles(Section):
    """NPU cycles as the compiler estimates them."""

    compute: Number
    max: Number


class Advice(Section):
    """What would bring operators of one kind to the NPU."""

    op: Text
    epochs: Count
    microseconds: Number
    gain_microseconds: Number
    remedy: Text | None = None
    rewrite: Text | None = None


class LintFinding(Section):
    """A limit of ST Edge AI that the model breaks."""

    rule: Text
    severity: Text
    found: Text
    remedy: Text


class AppliedRule(Section):
    """A rewrite that was applied, and the milliseconds that it gained."""

    rule: Text
    times: Count
    gain_ms: Number | None = None
    where: list[Text] = []
    because: list[Text] = []


class RefusedRule(Section):
    """A rewrite that was not applied at a place."""

    rule: Text
    where: Text
    why: Text


class Rewrites(Section):
    """Rules applied and refused, with reasons."""

    applied: list[AppliedRule] = []
    refused: list[RefusedRule] = []
    milliseconds: dict[str, Number | None] = {}
    """Predicted before and after, of the graph before it is quantized: the clock of the rules' gains."""


class Histogram(Section):
    """Counts of values in equal steps from ``low`` to ``high``."""

    counts: list[Number]
    low: Number
    high: Number


class WorstTensor(Section):
    """A tensor that loses much in INT8, and why."""

    name: Text
    sqnr_db: Number
    scale: Number = 0.0
    zero_point: Count = 0
    cause: Text | None = None
    remedy: Text | None = None
    histogram: Histogram | None = None


class TriedMethod(Section):
    """An accuracy method that was tried."""

    method: Text
    kept: bool
    closeness_db: Number | None = None


class UnpromisingMethod(Section):
    """An accuracy method that was left out, and the dB that it could bring at most."""

    method: Text
    most_db: Number


class TradePoint(Section):
    """What a number of four-bit layers saves and costs; ``refined``: once they make up for each other.

    ``drop``: points that it loses on so many ``labels``, labeled samples, where those decided.
    """

    layers: Count
    weight_bytes: Number
    milliseconds: Number | None = None
    closeness_db: Number
    refined: bool = False
    drop: Number | None = None
    labels: Count | None = None


class FourBits(Section):
    """Layers whose weights have four bits."""

    layers: list[Text] = []
    of: Count = 0
    bytes_saved: Number = 0.0
    curve: list[TradePoint] = []


class Quantization(Section):
    """How INT8 was made: ranges, methods, and the tensors that lose most."""

    worst: list[WorstTensor] = []
    methods: list[TriedMethod] = []
    methods_not_promising: list[UnpromisingMethod] = []
    ranges: dict[str, Count] = {}
    four_bits: FourBits | None = None


class Calibration(Section):
    """Samples by use: where they are from, and the hash of each."""

    source: Text | None = None
    synthetic: bool = False
    calibration: list[Any] = []
    held_back: list[Any] = []


class ExportedTensor(Section):
    """An input or output of the exported model."""

    name: Text
    shape: list[Count]


class StageFacts(Section):
    """What a stage says of itself."""

    inputs: list[ExportedTensor] = []
    outputs: list[ExportedTensor] = []
    flash_tables: dict[str, Count] = {}
    """Bytes of the package's tables by file."""
