"""What ST's own files say, in one normalized form ([#files]); readers of every format produce these types."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["BoardRow", "BoardTime", "PoolAccess", "StConv", "StCounts", "StEpoch", "StPool", "StReport", "count_ops"]


@dataclass(frozen=True, slots=True)
class PoolAccess:
    """Traffic of one epoch on one pool: bytes, and the cycles of the slowest stream in each direction."""

    reads: int
    writes: int
    read_cycles: int
    write_cycles: int


@dataclass(frozen=True, slots=True)
class StConv:
    """A convolution of an epoch; maps are (height, width), ``units`` counts CONV_ACC in series."""

    name: str
    out_channels: int
    in_channels: int
    kernel: tuple[int, int]
    units: int
    in_hw: tuple[int, int] | None
    out_hw: tuple[int, int] | None
    batch: int | None
    input_zero_point: int | None
    input_format: str | None


@dataclass(slots=True)
class StEpoch:
    """One epoch; ``kind`` is hw, ec, hybrid, sw or none (nothing executed); cycles are NPU cycles."""

    id: int
    kind: str
    nodes: tuple[str, ...] = ()
    compute_cycles: int | None = None
    max_cycles: int | None = None
    pools: dict[str, PoolAccess] = field(default_factory=dict)
    convs: tuple[StConv, ...] = ()
    inputs: tuple[tuple[tuple[int, ...], str], ...] = ()
    outputs: tuple[tuple[tuple[int, ...], str], ...] = ()

    @property
    def printed(self) -> str:
        """Operator name as printed for SW and hybrid epochs."""
        return "+".join(self.nodes)


@dataclass(slots=True)
class StPool:
    """Use of one memory pool in bytes; ``exact`` is false where the file prints rounded kB."""

    name: str
    used: int
    weights: int | None = None
    activations: int | None = None
    size: int | None = None
    start: int | None = None
    ranges: str | None = None
    exact: bool = True
    byte_width: float | None = None
    freq_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class StCounts:
    """Epochs by class as printed; None = the file does not print that class (2.x reports know no hybrid)."""

    total: int
    hw: int
    ec: int
    hybrid: int | None
    sw: int

    @property
    def npu(self) -> int:
        """HW and epoch-controller epochs together."""
        return self.hw + self.ec


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One row of a validate table; ``counters`` are (pre, core, post) in CPU cycles."""

    kind: str
    block: str
    milliseconds: float
    counters: tuple[int, int, int]


@dataclass(slots=True)
class BoardTime:
    """A measurement: milliseconds per inference, clocks in MHz (cpu, npu, nic, noc) and the rows when printed."""

    milliseconds: float
    clocks: dict[str, int] = field(default_factory=dict)
    rows: tuple[BoardRow, ...] = ()
    epoch_controller: bool | None = None
    """True when at least one row is an epoch-controller blob; None without rows."""

    @property
    def counts(self) -> StCounts | None:
        """Epochs counted in the rows; None without rows, and where a blob hides how many it holds."""
        if not self.rows or self.epoch_controller:
            return None
        kinds = Counter(row.kind for row in self.rows if not row.kind.startswith("extra"))
        hybrid, software = kinds["HYBRID"], kinds["SW"]
        return StCounts(kinds.total(), kinds.total() - hybrid - software, 0, hybrid, software)


@dataclass(slots=True)
class StReport:
    """Everything one or several of ST's files say about one compilation."""

    sources: tuple[str, ...]
    core_version: str | None = None
    atonn_version: str | None = None
    model_name: str | None = None
    options: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    """Words of the command line of ``stedgeai``, as printed."""
    counts: StCounts | None = None
    epochs: list[StEpoch] = field(default_factory=list)
    sw_ops: dict[str, int] = field(default_factory=dict)
    hybrid_ops: dict[str, int] = field(default_factory=dict)
    pools: dict[str, StPool] = field(default_factory=dict)
    layout: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Start address and size of every pool the compiler was given, used or not."""
    weights_bytes: int | None = None
    activations_bytes: int | None = None
    macc: int | None = None
    max_cycles: int | None = None
    board: BoardTime | None = None
    allocates_io: bool = True
    """False when inputs or outputs were left to the application (``--no-inputs-allocation``)."""

    @property
    def version(self) -> tuple[int, int] | None:
        """(major, minor) of ST Edge AI Core."""
        if not self.core_version:
            return None
        major, minor = self.core_version.split(".")[:2]
        return int(major), int(minor)


def count_ops(epochs: Iterable[StEpoch], kind: str) -> dict[str, int]:
    """Printed operator names of the epochs of one kind, with their number."""
    return dict(Counter(epoch.printed for epoch in epochs if epoch.kind == kind))
