"""The estimate on a terminal says what its facts say: counts, shares, longest epochs, pools, advice."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any

import pytest
from nets.qdq import QdqBuilder
from rich.console import Console

from n6convert.cli.tables import COLORS, _epoch_bar, print_estimate, print_explanation
from n6convert.npu import estimate, explain
from n6convert.npu.estimation import Estimate
from n6convert.npu.evidence import is_thin, reports_of, thin_words
from n6convert.npu.ir import Where
from n6convert.report.time_spent import BOUND_WORDS


@pytest.fixture(scope="module")
def found() -> Estimate:
    """A convolution, a float function, a softmax: epochs of every kind."""
    b = QdqBuilder("net")
    x = b.op("Erf", b.conv(b.input(1, 3, 32, 32), 3, 8, 3, 1))
    b.output(b.op("Softmax", b.reshape(b.conv(x, 8, 8, 3, 1), 1, 8, 1024), axis=-1))
    return estimate(b.model(), "stm32n6570-dk@4.0")


def printed(found: Any, width: int = 200, explain_it: bool = False) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    (print_explanation if explain_it else print_estimate)(found, console)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_head_counts_epochs_and_time(found: Estimate) -> None:
    text, counts, time = printed(found), found.placement.epochs, found.costs.latency
    assert f"{time.milliseconds:.2f} ms ({time.low:.2f} to {time.high:.2f})" in text
    assert f"{counts.total} epochs: {counts.hw} hw, {counts.hybrid} hybrid, {counts.sw} sw" in text
    assert counts.hw and counts.sw and f"offload {counts.offload:.1%} of epochs" in text
    assert text.count("assuming: ") == len(time.assumptions) > 0 and "stm32n6570-dk, core 4.0" in text


def test_what_the_time_waits_for_adds_up_and_comes_in_order(found: Estimate) -> None:
    line = next(line for line in printed(found).splitlines() if line.startswith("the time goes to"))
    shares = [int(n) for n in re.findall(r"\((\d+)%\)", line)]
    assert shares == sorted(shares, reverse=True) and abs(sum(shares) - 100) <= len(shares)
    assert all(BOUND_WORDS[name] in line for name in found.bottlenecks().milliseconds)


def test_tables_have_a_row_for_every_fact(found: Estimate) -> None:
    text, why = printed(found), found.bottlenecks()
    for one in why.longest:
        assert re.search(rf"^ *{one.epoch} +.*{one.milliseconds:.3f} +{one.share:.0%}", text, re.MULTILINE)
    for pool in found.costs.memory.pools:
        assert (f"{pool.used:,}" in text) or not pool.used
    for line in found.advice[:12]:
        assert line.op in text and (line.rewrite or "-") in text
    times = sum(epoch.microseconds + epoch.overhead for epoch in found.costs.epochs) / 1000
    block = text.split("time by first operator of the epoch")[1].split("\n\n")[0].split("\nmemory")[0]
    rows = re.findall(r"^(?:hw|sw|hybrid|none)\s+\S+\s+(\d+)\s+([\d.]+)", block, re.MULTILINE)
    assert sum(int(n) for n, _ in rows) == len([e for e in found.schedule.epochs if e.ops])
    assert sum(float(ms) for _, ms in rows) == pytest.approx(times, abs=0.001 * len(rows))


@pytest.mark.parametrize(("kinds", "width", "wanted"), [
    ([Where.HW, Where.SW, Where.HYBRID], 10, "hsy"), ([Where.HW] * 4, 2, "hh"),
    ([Where.HW, Where.SW, Where.NONE, Where.HYBRID], 2, "sy"), ([], 10, "n"), ([Where.HW], 0, "h"),
    ([Where.NONE], 5, "n"),
])  # fmt: skip
def test_where_epochs_share_a_cell_the_dearest_decides(kinds: list[Where], width: int, wanted: str) -> None:
    letters = {"h": Where.HW, "s": Where.SW, "y": Where.HYBRID, "n": Where.NONE}
    bar = _epoch_bar(kinds, width)
    assert [str(span.style) for span in bar.spans] == [COLORS[letters[c]] for c in wanted]
    assert bar.plain == "█" * len(wanted)


@pytest.mark.parametrize("width", [20, 40, 79, 300])
def test_no_line_is_wider_than_the_terminal(width: int, found: Estimate) -> None:
    assert max(map(len, printed(found, width).splitlines())) <= width


@pytest.mark.parametrize("name", ["[bold]x[/]", "a[/b]", "\x1b[2J", "[red]"])
def test_names_are_no_markup(name: str, found: Estimate) -> None:
    named = replace(found, model=name, target=replace(found.target, board=f"{name}.yaml"))
    text = printed(named)
    shown = name.replace("\x1b", "\\x1b")
    assert text.splitlines()[0].startswith(f"{shown} on {shown}.yaml, core 4.0")


@pytest.mark.parametrize(("op", "version"), [("Softmax", (2, 1)), ("Concat", (4, 0)), ("Conv", (3, 0))])
def test_rules_are_numbered_in_the_order_in_which_they_are_tried(op: str, version: tuple[int, int]) -> None:
    rules = explain(op, version)
    text = printed(rules, explain_it=True)
    places = [
        text.index(f"{n}. {r.where.value}{' in float' if r.float else ''} ({r.name})")
        for n, r in enumerate(rules.rules, 1)
    ]
    assert places == sorted(places) and text.count("\n   evidence: ") == len(rules.rules)
    assert text.count("\n   remedy: ") == sum(bool(r.remedy) for r in rules.rules)


@pytest.mark.parametrize(("evidence", "reports", "words"), [
    ("seen r02, r10 (folded) and documented", ("r02", "r10"), None), ("seen r27", ("r27",), "seen in one report only"),
    ("seen 6/6 (r27), 11/11 (r56)", ("r27", "r56"), None), ("inferred: time of a network", (), "inferred, never seen"),
    ("documented", (), None), ("seen r15 and documented", ("r15",), None), ("seen r32, r32", ("r32",),
    "seen in one report only"),
    ("unexplained: r24 takes more", ("r24",), "not explained by any report"),
    ("seen r09a, r09b", ("r09a", "r09b"), None),
    ("", (), None), ("4096 of r1 and rr02", (), None),
])  # fmt: skip
def test_what_a_rule_rests_on(evidence: str, reports: tuple[str, ...], words: str | None) -> None:
    assert (
        reports_of(evidence) == reports and thin_words(evidence) == words and is_thin(evidence) == (words is not None)
    )
