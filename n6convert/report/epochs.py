"""Epochs of a placement: their ribbon, their time by operator, and the table with what each executes and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from n6convert.report.svg import Block, Row, bars, ribbon, scale
from n6convert.report.words import short
from n6convert.results import Placement
from n6convert.results.section import PLACES
from n6convert.results.sections import OperatorPlace, Side

__all__ = ["DrawnEpoch", "drawn_epochs", "epoch_blocks", "epoch_rows", "operator_times", "placement_reasons", "ribbons"]

_MOST_KINDS = 12
_MOST_NAMES, _MOST_SEARCHED = 3, 24
_SHORT_BOUNDS = {
    "compute": "computing",
    "flash": "weights from flash",
    "memory": "memory on chip",
    "external": "external RAM",
    "software": "CPU",
    "hybrid": "CPU and NPU",
}
#: microseconds below which a block would not be seen
_LEAST = 1.0
#: microseconds that two digits of a millisecond show
_SHOWN = 5.0


@dataclass(frozen=True)
class DrawnEpoch:
    """Operators that run together, as the page shows them."""

    number: int
    parts: Sequence[OperatorPlace]

    @cached_property
    def working(self) -> list[OperatorPlace]:
        """Operators that take work; all where none does."""
        return [part for part in self.parts if part.where != "none"] or list(self.parts)

    @property
    def where(self) -> str:
        """Class of the place that executes it."""
        return self.working[0].where

    @property
    def kinds(self) -> str:
        """Operators by kind, each once."""
        return " + ".join(dict.fromkeys(part.op for part in self.working))

    @property
    def microseconds(self) -> float:
        """Predicted time."""
        return sum(part.microseconds or 0.0 for part in self.parts)

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return sum(part.macs for part in self.parts)


def drawn_epochs(side: Side) -> list[DrawnEpoch]:
    """Epochs in order; an epoch is named by its number and ends where the number changes."""
    groups: dict[int, list[OperatorPlace]] = defaultdict(list)
    for operator in side.operators:
        groups[operator.epoch].append(operator)
    return [DrawnEpoch(number, groups[number]) for number in sorted(groups)]


def epoch_blocks(side: Side, *, linked: bool = False) -> list[Block]:
    """One block an epoch that takes work; ``linked`` ones lead to their row of the table."""
    return [_block(epoch, linked) for epoch in drawn_epochs(side) if epoch.where != "none"]


def _block(epoch: DrawnEpoch, linked: bool) -> Block:
    text = f"epoch {epoch.number}: {epoch.kinds}, {epoch.microseconds:.0f} µs"
    return Block(max(epoch.microseconds, _LEAST), epoch.where, text, epoch.number if linked else None)


def ribbons(placement: Placement | None) -> tuple[list[dict[str, str]], str]:
    """One ribbon a side, both on the time scale of the longer one, and their axis."""
    if placement is None:
        return [], ""
    after = "As converted" if placement.before else "As it is"
    sides = [("Before rewrites", placement.before), (after, placement.after)]
    drawn = [(name, side, epoch_blocks(side, linked=side is placement.after)) for name, side in sides if side]
    whole = max((sum(block.width for block in blocks) for _, _, blocks in drawn), default=0.0)
    axis = scale(whole / 1000, "ms", f"Time from 0 to {whole / 1000:.1f} ms") if whole > 0 else ""
    return [_ribbon(name, side, blocks, whole) for name, side, blocks in drawn], axis


def _ribbon(name: str, side: Side, blocks: Sequence[Block], whole: float) -> dict[str, str]:
    e = side.epochs
    time = f", {sum(b.width for b in blocks) / 1000:.1f} ms" if blocks else ""
    summary = f"{e.hw} of {e.total} epochs on the NPU, {e.hybrid} hybrid, {e.sw} on the CPU{time}"
    return {"name": name, "summary": summary, "svg": ribbon(blocks, f"Epochs, {name}: {summary}", whole=whole)}


def operator_times(side: Side | None) -> str:
    """Bars of predicted time by kind of operator; empty where nothing is known."""
    if side is None:
        return ""
    times: dict[tuple[str, str], float] = defaultdict(float)
    for operator in side.operators:
        times[operator.op, operator.where] += operator.microseconds or 0.0
    ranked = sorted(((t, k) for k, t in times.items() if t >= _SHOWN), reverse=True)[:_MOST_KINDS]
    rows = [Row(f"{op} ({PLACES.get(where, where)})", t, f"{t / 1000:.2f} ms", where) for t, (op, where) in ranked]
    return bars(rows, "Predicted time by operator kind") if rows else ""


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A row of the table of epochs, in words; ``full`` is what the filter finds it by."""

    epoch: int
    op: str
    names: str
    full: str
    where: str
    place: str
    microseconds: str
    macs: str
    bound: str
    reasons: Sequence[str]


def epoch_rows(side: Side | None) -> list[EpochRow]:
    """The table of epochs: one row each, with the operators that run together in it."""
    return [_row(epoch) for epoch in (drawn_epochs(side) if side else ())]


def _row(epoch: DrawnEpoch) -> EpochRow:
    bound = next((part.bound for part in epoch.parts if part.bound), "")
    names = list(dict.fromkeys(part.name for part in epoch.working))
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return EpochRow(
        epoch=epoch.number,
        op=epoch.kinds,
        names=", ".join(map(short, names[:_MOST_NAMES])) + more,
        full=", ".join(names[:_MOST_SEARCHED]),
        where=epoch.where,
        place=PLACES.get(epoch.where, epoch.where),
        microseconds=f"{epoch.microseconds:.1f}" if epoch.parts[0].microseconds is not None else "",
        macs=f"{epoch.macs / 1e6:.2f}" if epoch.macs else "",
        bound=_SHORT_BOUNDS.get(bound, bound),
        reasons=[] if epoch.where == "hw" else list(dict.fromkeys(part.reason for part in epoch.working)),
    )


def placement_reasons(side: Side | None) -> list[tuple[str, str]]:
    """Operators and why they run on the NPU, each reason once."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for operator in side.operators if side else ():
        if operator.where == "hw" and operator.op not in kinds[operator.reason]:
            kinds[operator.reason].append(operator.op)
    return [(", ".join(ops), reason) for reason, ops in kinds.items()]
