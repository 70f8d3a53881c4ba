"""How much a rule of placement rests on: the reports that its evidence names, and whether that is thin."""

from __future__ import annotations

import re

__all__ = ["is_thin", "reports_of", "thin_words"]

_REPORT = re.compile(r"\br\d{2}[a-c]?\b")
_BROAD = ("documented", "elsewhere", "other network", "another network", "every")
_ALONE = ("inferred", "unexplained", "seen once", "in one network", "in one public")


def reports_of(evidence: str) -> tuple[str, ...]:
    """The published reports that a sentence of evidence names, such as ``r02``."""
    return tuple(dict.fromkeys(_REPORT.findall(evidence)))


def is_thin(evidence: str) -> bool:
    """True for a rule that is inferred, or was seen in a single report and is documented nowhere."""
    text = evidence.lower()
    if any(word in text for word in _ALONE):
        return True
    return len(reports_of(text)) == 1 and not any(word in text for word in _BROAD)


def thin_words(evidence: str) -> str | None:
    """What to say beside a rule that rests on little; None for the others."""
    if not is_thin(evidence):
        return None
    text = evidence.lower()
    if "unexplained" in text:
        return "not explained by any report"
    return "inferred, never seen" if "inferred" in text else "seen in one report only"
