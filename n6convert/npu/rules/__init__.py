"""The placement table: which unit executes an operator, per compiler version, with the sentence that says why."""

from __future__ import annotations

from n6convert.npu.rules import convolution, elementwise, movement, operators  # noqa: F401  (they register rules)
from n6convert.npu.rules import table as _table  # noqa: F401  (behind them, what holds in every form)
from n6convert.npu.rules.base import ANY, COPY, DEPTHWISE_REST, Rule, Subject, registered, rules_for

__all__ = ["Rule", "Subject", "decide", "known_operators", "rules_for"]

_UNKNOWN = ANY + "unknown"


def decide(subject: Subject) -> Rule:
    """The rule that decides an operator: the first one that applies to its compiler version."""
    for candidate in (*rules_for(subject.node.op), *rules_for(_UNKNOWN)):
        if candidate.covers(subject.version) and candidate.applies(subject):
            return candidate
    raise AssertionError("the last rule applies to everything")


def known_operators() -> list[str]:
    """Operators with rules of their own, sorted."""
    return [op for op in registered() if op not in (_UNKNOWN, COPY, DEPTHWISE_REST)]
