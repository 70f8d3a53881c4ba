"""Documented figures are compared with what a run gives; one of them here, all of them by ``make figures``."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    return importlib.import_module("figures")


@pytest.mark.parametrize(
    ("old", "new", "alike"),
    [
        ("15.1 ms (13.6 to 17.4)", "15.2 ms (13.7 to 17.5)", True),
        ("15.1 ms (13.6 to 17.4)", "16.0 ms (13.6 to 17.4)", False),
        ("120: 120 hw, 0 hybrid, 0 sw (100.0 %)", "120: 120 hw, 0 hybrid, 0 sw (100.0 %)", True),
        ("120: 120 hw, 0 hybrid, 0 sw (100.0 %)", "121: 121 hw, 0 hybrid, 0 sw (100.0 %)", False),
        ("3,077 KiB", "3,100 KiB", True),
        ("3,077 KiB", "3,300 KiB", False),
        ("boxes 34.2 dB, scores 55.5 dB", "boxes 33.3 dB, scores 55.5 dB", True),
        ("boxes 34.2 dB, scores 55.5 dB", "boxes 34.2 dB, scores 52.0 dB", False),
        ("nothing", "3,077 KiB", False),
    ],
)
def test_what_counts_as_the_same(figures: ModuleType, old: str, new: str, alike: bool) -> None:
    assert figures.same(old, new) == alike


def report(drop: float) -> SimpleNamespace:
    """All that a column shows."""
    side = {"epochs": {"total": 5, "hw": 5, "hybrid": 0, "sw": 0}, "offload": 1.0, "operators": []}
    time = {"milliseconds": 2.6, "low": 2.3, "high": 3.0}
    accuracy = SimpleNamespace(
        metric="OKS", float_value=59.45, int8=59.45 - drop, drop=drop, samples=87, interval=[drop - 0.5, drop + 0.5]
    )
    return SimpleNamespace(
        target="t", placement=SimpleNamespace(before=side | {"latency": time}, after=side), latency=time,
        memory={"activations": 2048, "weights": 4096}, accuracy=accuracy, rewrites={},
        weights=SimpleNamespace(trained=True, origin="w"),
    )  # fmt: skip


def test_a_loss_holds_inside_the_interval_of_a_new_run(figures: ModuleType) -> None:
    page = figures.PAGES[0]
    section = "\n".join(figures.lines(page, [report(0.03)]))
    assert list(figures.disagreements(page.title, section, [report(0.03)])) == []
    assert list(figures.disagreements(page.title, section, [report(0.40)])) == []
    (found,) = figures.disagreements(page.title, section, [report(1.09)])
    assert "0.03 points" in found and "1.09 points" in found
    assert len(list(figures.disagreements(page.title, "", [report(0.03)]))) == len(figures.ROWS), "no such section"


def test_in_turn_each_column_and_run_comes_once(figures: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    quick = ["yolov8n-256", "movenet", "tinybert-64"]
    count = len(figures.others(quick))
    assert count == 2 * (len(figures.PAGES) - len(quick)) + len(figures.SHOWN)
    seen: list[Any] = []
    monkeypatch.setattr(
        figures, "report_of", lambda page, target, data: seen.append((page.recipe, target)) or report(0)
    )
    monkeypatch.setattr(figures, "_readme", lambda check, runs: seen.extend(runs) or iter(()))
    told = [list(figures.in_turn(turn, quick)) for turn in range(7, 7 + count)]
    columns = {(p.recipe, t) for p in figures.PAGES if p.recipe not in quick for t in figures.TARGETS}
    assert len(seen) == count and set(seen) == columns | set(figures.SHOWN)
    assert sum(bool(lines) for lines in told) == len(columns), "none of them is what a report of nothing says"


def test_a_later_column_is_compared_with_its_own_figures(figures: ModuleType) -> None:
    page = figures.PAGES[0]
    section = "\n".join(figures.lines(page, [report(0.03), report(1.20)]))
    assert list(figures.disagreements(page.title, section, [report(1.20)], 1)) == []
    assert list(figures.disagreements(page.title, section, [report(0.03)], 1)) != []


def test_lines_of_a_shown_run_are_replaced_by_their_first_words(figures: ModuleType) -> None:
    shown = "model   a for b\npredicted time   85.6 ms\nwarning: the weights are untrained: old words"
    ran = "noise\nmodel   a for b\npredicted time   84.1 ms\nwarning: the weights are untrained: new words"
    assert figures.block_of(shown, ran) == "\n".join(ran.splitlines()[1:])


def test_the_table_of_methods_takes_its_figures_from_the_benchmark(figures: ModuleType) -> None:
    table = "| network | a | b | c |\n|---|---|---|---|\n| one of them | 1.0 dB | 2.0 dB | 3.0 dB |"
    ran = "log-mel   input alone   27.02\nlog-mel   min-max   9.46   0.00 1\nlog-mel   default recipe   32.36  22.9"
    made = figures.table_of(table, ran, ["log-mel"])
    assert made.splitlines()[2] == "| one of them | 27.0 dB | 9.5 dB | 32.4 dB |"
    assert "nothing" in figures.table_of(table, "", ["log-mel"])
    assert figures.same(made, made) and not figures.same(table, made)


def test_the_page_has_a_section_for_each_model_and_the_readme_each_run(figures: ModuleType) -> None:
    page = figures.PAGE.read_text(encoding="utf-8")
    assert page.startswith(figures.HEAD)
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == [p.title for p in figures.PAGES]
    assert all(f"{shown}" in figures.README.read_text(encoding="utf-8") for shown in figures.SHOWN)


def test_the_gallery_says_what_the_page_says(figures: ModuleType) -> None:
    made = figures.gallery(figures.PAGE.read_text(encoding="utf-8"))
    assert made.count("\n") == len(figures.PAGES) + 2
    assert figures.GALLERY.read_text(encoding="utf-8").endswith(f"\n\n{made}")


def test_the_documented_loss_of_bert_tiny_holds(figures: ModuleType, data_dir: Path) -> None:
    """Its predictions are compared by ``make figures`` alone: they change with the predictor, not with the CPU."""
    pytest.importorskip("n6convert_tinybert")
    page = next(p for p in figures.PAGES if p.recipe == "tinybert-64")
    found = figures.report_of(page, figures.TARGETS[1], data_dir)
    section = figures.PAGE.read_text(encoding="utf-8").partition(f"## {page.title}")[2].partition("\n## ")[0]
    documented = next(line for line in section.splitlines() if line.startswith("| accuracy"))
    assert figures.within(documented.rsplit(" | ", 1)[1], found), documented
