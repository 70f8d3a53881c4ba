"""The page on the NPU: every anchor once, every citation resolved."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from n6convert.cli import app
from n6convert.errors import UsageError
from n6convert.linter import limits
from n6convert.npu.rules import known_operators, rules_for
from n6convert.npu.rules.base import ANY
from n6convert.reference import PAGE, as_links, citations, paragraph, paragraphs

ROOT = Path(__file__).parents[1]
SOURCES = [p for top in ("n6convert", "plugins") for p in (ROOT / top).rglob("*") if p.suffix in {".py", ".yaml"}]


def test_every_anchor_stands_once_and_says_something() -> None:
    page = (ROOT / "docs" / PAGE).read_text("utf-8")
    anchors = re.findall(r'<a id="([^"]+)"></a>', page)
    assert len(anchors) == len(set(anchors)) > 150
    assert set(anchors) == set(paragraphs())
    assert all(len(text) > 20 for text in paragraphs().values())


def test_links_inside_the_page_lead_somewhere() -> None:
    page = (ROOT / "docs" / PAGE).read_text("utf-8")
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(paragraphs())


def test_citations_resolve() -> None:
    cited = [(str(path), name) for path in SOURCES for name in citations(path.read_text("utf-8"))]
    assert len(cited) > 50
    assert [pair for pair in cited if pair[1] not in paragraphs()] == []


def test_nothing_cites_a_document_that_is_not_here() -> None:
    old = re.compile(r"\bSPEC\b")
    assert [str(path) for path in SOURCES if old.search(path.read_text("utf-8"))] == []


def test_evidence_that_users_read_resolves() -> None:
    texts = [rule.evidence for op in (*known_operators(), ANY + "-") for rule in rules_for(op)]
    texts += [limit.evidence for limit in limits().values()]
    cited = {name for text in texts for name in citations(text)}
    assert cited and cited <= set(paragraphs())


def test_a_row_of_a_table_is_one_paragraph() -> None:
    assert "8 software Convs" in paragraph("transformer-blockers")
    text = paragraph("#two-sided")
    assert "16-bit output" in text and "\n" not in text and "[#r15]" in text


def test_a_mistyped_anchor_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        paragraph("#op-sofmax")
    assert "#op-softmax" in str(caught.value.remedy)


def test_citations_become_links() -> None:
    assert as_links("seen (r15), [#units]") == f"seen ([r15]({PAGE}#r15)), [units]({PAGE}#units)"
    assert citations("r15, r15 and rank r1") == ["r15"]


def test_explain_prints_what_a_citation_means() -> None:
    runner = CliRunner()
    shown = runner.invoke(app, ["explain", "Softmax"])
    assert "n6convert explain '#r" in shown.output
    shown = runner.invoke(app, ["explain", "r15", "--json"])
    assert "six-layer transformer" in json.loads(shown.output)["text"]
