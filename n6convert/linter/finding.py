"""What a limit is, and what a broken one looks like."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from n6convert.linter import constants

if TYPE_CHECKING:
    from n6convert.linter.view import View

__all__ = ["Break", "Finding", "Limit", "Severity", "limit", "registered"]


class Severity(StrEnum):
    """``error``: refused or wrong answers; ``warning``: float or poor on the NPU; ``info``: costs time on the CPU."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One broken limit at one place, every text ready to be read."""

    rule: str
    severity: Severity
    node: str | None
    tensor: str | None
    limit: str
    found: str
    remedy: str
    evidence: str

    def as_dict(self) -> dict[str, str | None]:
        """JSON-ready; keys are the attributes' names."""
        return {key: None if value is None else str(value) for key, value in asdict(self).items()}

    def __str__(self) -> str:
        place = " ".join(part for part in (self.node, self.tensor and f"[{self.tensor}]") if part) or "model"
        return f"{self.severity} {self.rule} at {place}: {self.found}. {self.limit} Remedy: {self.remedy}."


@dataclass(frozen=True, slots=True)
class Break:
    """What a check yields: where and what; severity and remedy only where they differ from the limit's own."""

    found: str
    node: str | None = None
    tensor: str | None = None
    severity: Severity | None = None
    remedy: str | None = None
    evidence: str | None = None


Check = Callable[["View"], Iterator[Break]]


@dataclass(frozen=True, slots=True)
class Limit:
    """A check with the sentence the user reads, its remedy and where it is known from."""

    name: str
    sentence: str
    severity: Severity
    remedy: str
    evidence: str
    check: Check

    def findings(self, view: View) -> Iterator[Finding]:
        """Every place in the model that breaks this limit."""
        for hit in self.check(view):
            severity = hit.severity or self.severity
            remedy, evidence = hit.remedy or self.remedy, hit.evidence or self.evidence
            yield Finding(self.name, severity, hit.node, hit.tensor, self.sentence, hit.found, remedy, evidence)


_LIMITS: dict[str, Limit] = {}


def limit(severity: Severity, *, remedy: str, evidence: str) -> Callable[[Check], Check]:
    """Register a check: its name (with dashes) is the rule, its docstring the sentence, filled with the constants.

    Args:
        severity: of what breaks the limit.
        remedy: what to do.
        evidence: where the limit is known from.
    """

    def register(check: Check) -> Check:
        name = check.__name__.replace("_", "-")
        sentence = " ".join(inspect.cleandoc(check.__doc__ or "").split())
        values = vars(constants)
        _LIMITS[name] = Limit(name, sentence.format(**values), severity, remedy.format(**values), evidence, check)
        return check

    return register


def registered() -> dict[str, Limit]:
    """The limits of the modules that were imported, by name."""
    return dict(_LIMITS)
