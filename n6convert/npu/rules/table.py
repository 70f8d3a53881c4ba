"""The rows of the operator table as rules: the last of each operator, behind those that look at its form."""

from __future__ import annotations

from collections.abc import Callable

from n6convert.npu.ir import Where
from n6convert.npu.rules.base import Rule, Subject, add
from n6convert.npu.rules.limits import values
from n6convert.operators.table import Row, Runs, rows
from n6convert.operators.versions import feature

__all__: list[str] = []

_WHERE = {
    Runs.NPU: Where.HW,
    Runs.NOTHING: Where.NONE,
    Runs.HYBRID: Where.HYBRID,
    Runs.INT8: Where.SW,
    Runs.FLOAT: Where.SW,
    Runs.REFUSED: Where.SW,
}


def _always(_: Subject) -> bool:
    return True


def _switched(row: Row) -> Callable[[Subject], bool]:
    switch = feature(row.needs).switch if row.needs else None
    return _always if switch is None else lambda subject: switch in subject.switches


def _rule(row: Row, op: str) -> Rule:
    return Rule(
        name=row.name,
        ops=(op,),
        where=_WHERE[row.runs],
        float=row.runs in (Runs.FLOAT, Runs.REFUSED),
        sentence=row.sentence.format(**values()),
        evidence=row.evidence,
        applies=_switched(row),
        remedy=row.remedies.get(op),
        rewrite=row.rewrite,
        needs=row.needs,
        without=row.without,
        since=row.since,
    )


for _row in rows():
    for _op in _row.operators:
        add(_rule(_row, _op))
