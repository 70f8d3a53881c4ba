"""What decides an operator's fate, and the operator table of the manual: both are read from the rules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from n6convert.errors import UsageError
from n6convert.naming import nearest
from n6convert.npu.ir import Where
from n6convert.npu.rules import Rule, known_operators, rules_for
from n6convert.npu.rules.base import ANY
from n6convert.npu.rules.limits import VERSIONS

__all__ = ["Explanation", "explain", "operator_table"]

_ALIASES = {"linear": "Gemm", "fullyconnected": "Gemm", "fc": "Gemm", "silu": "Swish", "logistic": "Sigmoid"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """The rules of one operator for one compiler version, in the order in which they are tried."""

    op: str
    version: tuple[int, int]
    rules: tuple[Rule, ...]


def explain(op: str, version: tuple[int, int]) -> Explanation:
    """Rules that decide where an operator runs.

    Raises:
        UsageError: no such operator, with the nearest names.
    """
    names = known_operators()
    wanted = _ALIASES.get(op.lower(), op).lower()
    match = next((name for name in names if name.lower() == wanted), None)
    if match is None:
        near = nearest(op, names, likeness=0.5)
        raise UsageError(
            "no such operator in the placement table",
            found=op,
            remedy=f"did you mean {' or '.join(near)}?" if near else f"one of {', '.join(names)}",
        )
    rules = tuple(rule for rule in rules_for(match) if rule.covers(version))
    return Explanation(match, version, rules)


def _fate(rule: Rule) -> str:
    if rule.where is Where.SW:
        return "SW float" if rule.float else "SW int"
    return {Where.HW: "HW", Where.HYBRID: "hybrid", Where.NONE: "no work"}[rule.where]


def _span(rule: Rule, versions: Sequence[tuple[int, int]]) -> str:
    covered = [version for version in versions if rule.covers(version)]
    if len(covered) == len(versions):
        return "all"
    names = [f"{major}.{minor}" for major, minor in covered]
    return names[0] if len(names) == 1 else f"{names[0]} - {names[-1]}"


def operator_table() -> str:
    """The operator table of the manual in Markdown; rules of an operator are tried from top to bottom."""
    lines = ["| operator | core | where | when | evidence | remedy |", "|---|---|---|---|---|---|"]
    every = rules_for(ANY + "-")
    lines += [_row("every operator", rule) for rule in every]
    for op in known_operators():
        lines += [_row(op, rule) for rule in rules_for(op) if rule not in every]
    return "\n".join(lines) + "\n"


def _row(op: str, rule: Rule) -> str:
    remedy = rule.remedy or ""
    if rule.rewrite and remedy:
        remedy += f" (rewrite `{rule.rewrite}`)"
    cells = (op, _span(rule, VERSIONS), _fate(rule), rule.sentence, rule.evidence, remedy)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
