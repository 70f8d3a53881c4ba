"""Prediction and truth side by side: totals, operator kinds, pools, and epoch by epoch where they part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from difflib import SequenceMatcher
from typing import Any

from n6convert.npu.costs import Costs
from n6convert.npu.ir import Epoch, EpochCounts, Schedule, Where
from n6convert.npu.st.facts import StEpoch, StReport
from n6convert.npu.streams import is_idle
from n6convert.operators.versions import has

__all__ = ["Comparison", "Difference", "Line", "compare"]

_FREE = frozenset({"Reshape", "Identity", "Transpose"})
_ALIGN_LIMIT = 4000
"""Above this number of epochs the alignment would take longer than it helps."""


@dataclass(frozen=True, slots=True)
class Line:
    """One fact twice; ``error`` is predicted / truth - 1, None when the truth does not say or is 0."""

    name: str
    predicted: float | None
    truth: float | None

    @property
    def error(self) -> float | None:
        """Relative error of the prediction."""
        if not self.truth or self.predicted is None:
            return None
        return self.predicted / self.truth - 1

    @property
    def equal(self) -> bool:
        """Both say the same."""
        return self.predicted == self.truth


@dataclass(frozen=True, slots=True)
class Difference:
    """A stretch where the two schedules part: what the prediction has there and what the compiler did."""

    after: int
    """Id of the last common epoch of the compiler, 0 at the start."""
    predicted: tuple[str, ...]
    truth: tuple[str, ...]


@dataclass(slots=True)
class Comparison:
    """The whole table; ``sw`` and ``hybrid`` list operator kinds, ``pools`` bytes, ``differences`` epochs."""

    totals: list[Line]
    sw: list[Line]
    hybrid: list[Line]
    pools: list[Line]
    common: int
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    named: bool = True
    """The report names operators; a validate log alone does not."""

    @property
    def placement_equal(self) -> bool | None:
        """Software and hybrid operators agree, kind by kind; None when the report names no operator."""
        return None if not self.named else all(line.equal for line in (*self.sw, *self.hybrid))

    def as_dict(self) -> dict[str, Any]:
        """For ``--json``."""

        def lines(entries: Sequence[Line]) -> list[dict[str, Any]]:
            return [asdict(line) | {"error": line.error} for line in entries]

        return {
            "placement_equal": self.placement_equal,
            "totals": lines(self.totals),
            "sw": lines(self.sw),
            "hybrid": lines(self.hybrid),
            "pools": lines(self.pools),
            "common_epochs": self.common,
            "differences": [asdict(difference) for difference in self.differences],
            "notes": self.notes,
        }


def compare(
    schedule: Schedule, sw_ops: Mapping[str, int], hybrid_ops: Mapping[str, int], costs: Costs, report: StReport
) -> Comparison:
    """Hold a prediction against ST's report of the same model.

    Args:
        schedule: predicted epochs.
        sw_ops: predicted operators on the CPU, by kind.
        hybrid_ops: those that both work on, by kind.
        costs: predicted cycles, memory and time.
        report: of ST's compiler.
    """
    logged = report.counts is None and report.board is not None
    counts = EpochCounts.of([epoch for epoch in schedule.epochs if not (logged and is_idle(epoch))])
    common, differences = _align(schedule.epochs, report.epochs)
    named = bool(report.epochs)
    off, copied = _off_the_npu(report)
    return Comparison(
        totals=_totals(counts, costs, report),
        sw=_kinds(sw_ops, off) if named else [],
        hybrid=_kinds(hybrid_ops, copied) if named else [],
        pools=_pools(costs, report),
        common=common,
        differences=differences,
        notes=_notes(report, logged),
        named=named,
    )


def _totals(counts: EpochCounts, costs: Costs, report: StReport) -> list[Line]:
    truth = report.counts or (report.board.counts if report.board else None)
    lines: list[Line] = []
    if truth is not None:
        npu = truth.npu
        lines += [
            Line("epochs", counts.total, truth.total),
            Line("hardware epochs", counts.hw, npu),
            Line("hybrid epochs", counts.hybrid, truth.hybrid),
            Line("software epochs", counts.sw, truth.sw),
            Line("offload", round(counts.offload, 4), round(npu / truth.total, 4) if truth.total else None),
        ]
    compute = [epoch.compute_cycles for epoch in report.epochs if epoch.kind in {"hw", "ec"}]
    known = [cycles for cycles in compute if cycles is not None]
    lines.append(Line("compute cycles", costs.compute_cycles, sum(known) if known else None))
    lines.append(Line("max cycles", costs.max_cycles, report.max_cycles))
    lines.append(Line("weights, B", costs.memory.weights, report.weights_bytes))
    lines.append(Line("activations, B", costs.memory.activations, report.activations_bytes))
    measured = report.board.milliseconds if report.board else None
    lines.append(Line("milliseconds", round(costs.latency.milliseconds, 3), measured))
    return lines


def _kinds(predicted: Mapping[str, int], truth: Mapping[str, int]) -> list[Line]:
    names = sorted({*predicted, *truth}, key=lambda name: (-max(predicted.get(name, 0), truth.get(name, 0)), name))
    return [Line(name, predicted.get(name, 0), truth.get(name, 0)) for name in names]


def _off_the_npu(report: StReport) -> tuple[dict[str, int], dict[str, int]]:
    """Software and hybrid operators by kind; cores 2.x print what copies with DMA as software, only their c_info calls
    it hybrid."""
    if report.version is None or has(report.version, "hybrid"):
        return _by_first(report.sw_ops), _by_first(report.hybrid_ops)
    return _by_first(Counter(_by_first(report.sw_ops)) + Counter(_by_first(report.hybrid_ops))), {}


def _by_first(truth: Mapping[str, int]) -> dict[str, int]:
    """Epochs that do several things count by what they do first: ``Concat+Transpose+Reshape`` is a Concat."""
    found: Counter[str] = Counter()
    for name, number in truth.items():
        found[name.partition("+")[0]] += number
    return dict(found)


def _pools(costs: Costs, report: StReport) -> list[Line]:
    predicted = {pool.name: pool.used for pool in costs.memory.pools if pool.used}
    names = list(dict.fromkeys([*predicted, *report.pools]))
    truth = {name: pool.used for name, pool in report.pools.items()}
    return [Line(name, predicted.get(name, 0), truth.get(name, 0)) for name in names] if truth else []


def _notes(report: StReport, logged: bool) -> list[str]:
    notes: list[str] = []
    if logged:
        notes.append("a log of the board lists only epochs that do something: others are not counted here")
    if not report.epochs:
        notes.append("these files name no operator: placement is not compared (give the report of generate, too)")
    if report.counts is not None and report.counts.hybrid is None:
        notes.append("this report has no hybrid class: hybrid epochs are among its hardware epochs (cores 2.x)")
    if report.max_cycles is None:
        notes.append("cycles are only in the c_info: give it too (--all-buffers-info, network_c_info.json)")
    if report.board is None:
        notes.append("no measured time: add the output of stedgeai validate")
    return notes


def _align(predicted: Sequence[Epoch], truth: Sequence[StEpoch]) -> tuple[int, list[Difference]]:
    ours = [epoch for epoch in predicted if epoch.kind is not Where.NONE]
    theirs = [epoch for epoch in truth if epoch.kind != "none"]
    if not theirs or len(ours) + len(theirs) > _ALIGN_LIMIT:
        return 0, []
    detailed = any(epoch.nodes for epoch in theirs if epoch.kind in {"hw", "ec"})
    left = [_label(epoch, detailed) for epoch in ours]
    right = [_st_label(epoch, detailed) for epoch in theirs]
    common, differences = 0, []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        if tag == "equal":
            common += i2 - i1
        else:
            after = theirs[j1 - 1].id if j1 else 0
            differences.append(Difference(after, tuple(left[i1:i2]), tuple(right[j1:j2])))
    return common, differences


def _label(epoch: Epoch, detailed: bool) -> str:
    if epoch.kind is not Where.HW:
        return f"{epoch.kind.value} {_plain(epoch.printed)}"
    return f"hw {_main_kind([op.kind for op in epoch.ops])}" if detailed else "hw"


def _st_label(epoch: StEpoch, detailed: bool) -> str:
    if epoch.kind in {"sw", "hybrid"}:
        return f"{epoch.kind} {_plain(epoch.printed)}"
    return f"hw {_main_kind(epoch.nodes)}" if detailed else "hw"


def _plain(printed: str) -> str:
    """The first operator of an epoch off the NPU, without the mark of float kernels (printed from 3.0 on)."""
    return printed.partition("+")[0].removesuffix("(float)")


def _main_kind(kinds: Sequence[str]) -> str:
    """Conv when there is one, else the first operator that does work: fused scales and shifts differ by version."""
    if "Conv" in kinds:
        return "Conv"
    working = [kind for kind in kinds if kind not in _FREE] or [kind for kind in kinds if kind != "Reshape"]
    return working[0] if working else "Reshape"
