"""A trial of rules: what was applied and refused, and the points from which another one can go on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace

import onnx_ir as ir

__all__ = ["Applied", "Checkpoint", "copied", "Refused", "Run"]


@dataclass(frozen=True)
class Applied:
    """One application: rule, the node it replaced, and, where the rule had a choice, why it chose so."""

    rule: str
    place: str
    exact: bool = True
    because: str = ""


@dataclass(frozen=True)
class Refused:
    """A place where a rule's pattern was found but the rule did not run."""

    rule: str
    place: str
    reason: str


@dataclass
class Run:
    """What one run of a set of rules to the fixpoint gave."""

    model: ir.Model
    applied: list[Applied] = field(default_factory=list)
    refused: dict[tuple[str, str], Refused] = field(default_factory=dict)
    difference: float = 0.0
    options: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """Forms that rules could write, by rule and kind of place, where there was more than one."""
    checkpoints: list[Checkpoint] = field(default_factory=list)
    """States on the way, each just before a rule first changed anything."""

    def before(self, rule: str) -> Checkpoint | None:
        """The last state that a rule had not touched yet: runs without it can go on from there."""
        return next((c for c in reversed(self.checkpoints) if rule not in c.begun), None)


@dataclass(frozen=True)
class Checkpoint:
    """A run just before one of its rules first changed anything."""

    run: Run
    names: Counter[str]
    earlier: frozenset[str]
    """Rules that have had their turn in this round."""
    changed: bool
    """Whether one of them changed something."""
    begun: frozenset[str]
    """Rules that changed something in any round."""


def copied(run: Run) -> Run:
    """A run that goes on without changing this one."""
    return replace(
        run,
        model=run.model.clone(),
        applied=list(run.applied),
        refused=dict(run.refused),
        options=dict(run.options),
        checkpoints=list(run.checkpoints),
    )
