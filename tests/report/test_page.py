"""The page says what the report says, and works in a browser."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from n6convert.cli import run
from n6convert.errors import OutputError, SourceError
from n6convert.report.diff import differences
from n6convert.report.html import read_report, write_report


@pytest.fixture
def page(report: dict[str, Any], tmp_path: Path) -> Path:
    return write_report(report, tmp_path)


def test_the_answer_comes_first(page):
    text = page.read_text()
    for words in ("fit on the chip", "100.0 %", "80.0 % before rewrites", "0.8 ms", "0.50 points", "AP 41.00 → 40.50"):
        assert words in text
    assert text.index("0.50 points") < text.index("Where it runs")
    assert "because &lt;it&gt; is so" in text


def test_nothing_is_loaded_from_anywhere(page):
    text = page.read_text()
    assert "<script src" not in text
    assert "url(" not in text
    assert "https://" not in text


def test_a_rejected_report_says_so_before_any_number(report, tmp_path):
    report["acceptance"] = [{"limit": "max_drop", "allowed": 0.1, "found": 0.5, "kept": False}]
    text = write_report(report, tmp_path).read_text()
    assert text.index("Not accepted: max_drop allows 0.1, found 0.5") < text.index("fit on the chip")


def test_a_report_without_prediction_and_labels_still_draws(report, tmp_path):
    for key in ("placement", "memory", "latency", "accuracy"):
        report[key] = None
    assert "30.5 dB" in write_report(report, tmp_path).read_text()


def test_a_model_that_does_not_fit(report, tmp_path):
    report["memory"] |= {"fits": False, "missing": 2048}
    text = write_report(report, tmp_path).read_text()
    assert "do not fit" in text
    assert "2 KiB find no place" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no report"), ("{", "not JSON"), ("[]", "not a report"), ('{"schema_version": "9.0"}', "schema version")],
)
def test_files_that_are_no_report(tmp_path, content, words):
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(SourceError, match=words):
        read_report(tmp_path)


@pytest.mark.parametrize("damage", [{"stages": "x"}, {"memory": {"weights": 1}}, {"sqnr_db": [1]}])
def test_a_damaged_report_is_named_not_called_a_bug(report, tmp_path, damage, capsys):
    (tmp_path / "report.json").write_text(json.dumps(report | damage))
    assert run(["report", str(tmp_path)]) == 1
    shown = capsys.readouterr().err
    assert "the report is damaged" in shown and str(tmp_path) in shown and "bug" not in shown


def test_a_page_that_cannot_be_written_leaves_nothing(report, tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        write_report(report, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_differences_name_what_changed(report):
    before, after = report, copy.deepcopy(report)
    after["placement"]["after"]["sw_ops"] = {"Softmax": 2}
    after["latency"]["milliseconds"] = 1.6
    after["recipe"]["options"]["imgsz"] = 96
    found = {c.what: (c.before, c.after) for c in differences(before, after)}
    assert found["predicted time"] == (0.8, 1.6)
    assert found["Softmax on the CPU"] == (0, 2)
    assert found["recipe: options.imgsz"] == (64, 96)
    assert "weights" not in found
    assert differences(before, before) == []


@pytest.fixture
def browser():
    """Headless Chromium, where it is installed."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        window = driver.chromium.launch(executable_path=chromium, args=arguments)
        yield window
        window.close()


def test_in_a_browser_filters_work_and_nothing_is_logged(page, browser):
    tab = browser.new_page()
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.on("request", lambda request: request.url.startswith(("file:", "data:")) or problems.append(request.url))
    tab.goto(page.as_uri())
    rows = tab.locator("#operators tbody tr:visible")
    everything = rows.count()
    tab.select_option("[data-filters=operators] select", "sw")
    assert rows.count() == 0 < everything
    tab.select_option("[data-filters=operators] select", "")
    tab.fill("[data-filters=operators] input", "node_3")
    assert rows.count() == 1
    assert tab.locator("[data-filters=operators] output").inner_text() == f"1 of {everything}"
    assert problems == []


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(page, browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_every_picture_has_a_text(page, browser):
    tab = browser.new_page()
    tab.goto(page.as_uri())
    assert tab.locator("svg[role=img]:not([aria-label]), img:not([alt])").count() == 0
    assert tab.locator("svg[role=img]").count() >= 5


def test_round_trip_through_the_folder(report, page, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert write_report(read_report(tmp_path), tmp_path, path=tmp_path / "again.html").read_text() == page.read_text()
