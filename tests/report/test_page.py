"""The page says what the report says, and works in a browser."""

from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from n6convert.cli import run
from n6convert.errors import OutputError, SourceError
from n6convert.report.diff import differences
from n6convert.report.html import read_report, write_report
from n6convert.report.schema import PartialReport


@pytest.fixture
def page(report: dict[str, Any], tmp_path: Path) -> Path:
    return write_report(PartialReport.model_validate(report), tmp_path)


def test_the_answer_comes_first(page):
    text = page.read_text()
    for words in (
        "fit on the chip",
        "100.0 %",
        "80.0 % before rewrites",
        "0.8 ms",
        "0.5 ± 0.7 points",
        "AP 41.00 → 40.50",
    ):
        assert words in text
    assert text.index("0.5 ± 0.7 points") < text.index("Where it runs")
    assert "because &lt;it&gt; is so" in text


def test_what_the_rewrites_gained_together(report, tmp_path):
    report["placement"]["before"]["latency"] = {"milliseconds": 1.5}
    page = write_report(PartialReport.model_validate(report), tmp_path)
    assert "Applied; together 1.50 → 0.80 ms (predicted)" in page.read_text()


def test_nothing_is_loaded_from_anywhere(page):
    text = page.read_text()
    assert "<script src" not in text
    assert "url(" not in text
    assert "https://" not in text


def test_a_rejected_report_says_so_before_any_number(report, tmp_path):
    report["acceptance"] = [{"limit": "max_drop", "allowed": 0.1, "found": 0.5, "kept": False}]
    text = write_report(PartialReport.model_validate(report), tmp_path).read_text()
    assert text.index("Not accepted: max_drop allows 0.1, found 0.5") < text.index("fit on the chip")


def test_a_report_without_prediction_and_labels_still_draws(report, tmp_path):
    for key in ("placement", "memory", "latency", "accuracy"):
        report[key] = None
    assert "30.5 dB" in write_report(PartialReport.model_validate(report), tmp_path).read_text()


def test_a_model_that_does_not_fit(report, tmp_path):
    report["memory"] |= {"fits": False, "missing": 2048}
    text = write_report(PartialReport.model_validate(report), tmp_path).read_text()
    assert "do not fit" in text
    assert "2 KiB find no place" in text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "no report"),
        ("{", "not JSON"),
        ("[" * 90000, "nested too deeply"),
        ("[]", "not a report"),
        ('{"schema_version": "9.0"}', "schema version"),
    ],
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
        write_report(PartialReport.model_validate(report), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_differences_name_what_changed(report):
    before, after = report, copy.deepcopy(report)
    after["placement"]["after"]["sw_ops"] = {"Softmax": 2}
    after["latency"]["milliseconds"] = 1.6
    after["recipe"]["options"]["imgsz"] = 96
    found = {c.what: (c.before, c.after) for c in differences(*map(PartialReport.model_validate, (before, after)))}
    assert found["predicted time"] == (0.8, 1.6)
    assert found["Softmax on the CPU"] == (0, 2)
    assert found["recipe: options.imgsz"] == (64, 96)
    assert "weights" not in found
    assert differences(*map(PartialReport.model_validate, (before, before))) == []


def test_differences_say_by_how_much_and_whether_for_the_better(report):
    after = copy.deepcopy(report)
    after["latency"]["milliseconds"], after["placement"]["after"]["offload"] = 0.6, 0.5
    after["accuracy"]["drop"] = 0.7
    found = {c.what: c for c in differences(*map(PartialReport.model_validate, (report, after)))}
    assert found["predicted time"].percent == pytest.approx(-25.0)
    verdicts = {what: found[what].verdict for what in ("predicted time", "offload", "drop")}
    assert verdicts == {"predicted time": "better", "offload": "worse", "drop": "worse"}
    assert found["drop"].percent is None, "a difference of points in percent says nothing"


def test_at_eighty_columns_both_ends_of_long_paths_are_there(report, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    sources = ["/data/of/a/project/with/a/very/long/path/to/its/images/and/labels/" * 2 + name for name in ("a", "b")]
    for folder, source in zip(("one", "two"), sources, strict=True):
        (tmp_path / folder).mkdir()
        content = report | {"recipe": {"calibration": {"source": source}}}
        (tmp_path / folder / "report.json").write_text(json.dumps(content))
    assert run(["diff", str(tmp_path / "one"), str(tmp_path / "two")]) == 0
    said = capsys.readouterr().out
    assert all(source in said for source in sources)


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
    tab.click("summary:has-text('Every epoch')")
    rows = tab.locator("#operators tbody tr:visible")
    everything = rows.count()
    tab.select_option("[data-filters=operators] select", "sw")
    assert rows.count() == 0 < everything
    tab.select_option("[data-filters=operators] select", "")
    tab.fill("[data-filters=operators] input", "node_3")
    assert rows.count() == 1
    assert tab.locator("[data-filters=operators] output").inner_text() == f"1 of {everything}"
    tab.fill("[data-filters=operators] input", "")
    tab.click("#operators th button:has-text('µs')")
    tab.click("#operators th button:has-text('µs')")
    times = [float(text or 0) for text in tab.locator("#operators td:nth-child(4)").all_inner_texts()]
    assert times == sorted(times, reverse=True) and times[0] > 0
    assert problems == []


@pytest.fixture
def drawn(report, tmp_path) -> Path:
    """A page with a graph: a chain of eight epochs and one skip."""
    report["placement"]["after"]["edges"] = [(i, i + 1) for i in range(1, 8)] + [(2, 6)]
    return write_report(PartialReport.model_validate(report), tmp_path)


def test_the_graph_leads_to_the_row_of_an_epoch_by_mouse_and_keyboard(drawn, browser):
    tab = browser.new_page()
    tab.goto(drawn.as_uri())
    assert tab.locator(".graph a").count() == 8
    assert not tab.locator("#epoch-5").is_visible()
    tab.click(".graph a:nth-of-type(5)")
    tab.wait_for_selector("#epoch-5:visible")
    tab.fill("[data-filters=operators] input", "node_3")
    tab.focus(".graph a:nth-of-type(7)")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#epoch-7:visible")


def test_tips_appear_under_pointer_and_arrow_keys(drawn, browser):
    tab = browser.new_page(has_touch=True)
    tab.goto(drawn.as_uri())
    block = tab.locator("svg.stretch").last.locator("rect").nth(2)
    block.hover()
    assert tab.locator(".tip").inner_text() == "epoch 3: Conv, 100 µs"
    tab.locator("svg.stretch").last.focus()
    for _ in range(4):
        tab.keyboard.press("ArrowRight")
    assert tab.locator(".tip").inner_text() == "epoch 4: Conv, 100 µs"
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#epoch-4:visible")


def test_a_picture_grows_when_it_is_chosen(report, tmp_path, browser):
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (1200, 400)).save(tmp_path / "pictures" / "00-street.png")
    Image.new("RGB", (1200, 400)).save(tmp_path / "pictures" / "01-park.png")
    report["files"] = [{"path": f"pictures/{name}.png", "sha256": "0"} for name in ("00-street", "01-park")]
    tab = browser.new_page(viewport={"width": 1200, "height": 800})
    tab.goto(write_report(PartialReport.model_validate(report), tmp_path).as_uri())
    before = tab.locator(".pictures img").first.bounding_box()["width"]
    tab.locator(".pictures button").first.click()
    assert tab.locator(".pictures img").first.bounding_box()["width"] > 1.9 * before


def test_the_graph_zooms(drawn, browser):
    tab = browser.new_page()
    tab.goto(drawn.as_uri())
    width = "document.querySelector('.graph svg').getBoundingClientRect().width"
    before = tab.evaluate(width)
    tab.click("[data-zoom='1.25']")
    assert tab.evaluate(width) == pytest.approx(1.25 * before, rel=0.01)
    tab.click("[data-zoom=fit]")
    assert tab.evaluate("document.querySelector('.graph').scrollHeight <= 1 + innerHeight")
    tab.click("[data-fixed]")
    assert tab.evaluate(width) == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_never_scrolls_sideways(page, browser, width):
    tab = browser.new_page(viewport={"width": width, "height": 800})
    tab.goto(page.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_every_picture_has_a_text_and_every_table_its_heads(page, browser):
    tab = browser.new_page()
    tab.goto(page.as_uri())
    silent = "svg[role=img]:not([aria-label]), img:not([alt]), svg:not([role]):not([aria-hidden])"
    assert tab.locator(silent).count() == 0
    assert tab.locator("svg[role=img]").count() >= 4
    assert tab.locator("th:not([scope])").count() == 0
    assert tab.locator("[role=list] > [role=listitem]").count() >= 2
    assert tab.locator(".scroll:not([tabindex])").count() == 0, "what scrolls must be reached by keyboard"


def test_names_as_long_as_compilers_make_them_stay_on_the_page(report, tmp_path, browser):
    name = "model/backbone/stage_4/block_11/attention/projection_with_a_very_long_name/Conv2D_fused_" * 2
    report["name"] = report["weights"]["origin"] = name
    report["quantization"]["worst"][0]["name"] = name
    for operator in report["placement"]["after"]["operators"]:
        operator["name"] = operator["op"] = name
    report["memory"]["pools"][0]["name"] = report["rewrites"]["applied"][0]["where"][0] = name
    page = write_report(PartialReport.model_validate(report), tmp_path)
    for width in (360, 1200):
        tab = browser.new_page(viewport={"width": width, "height": 800})
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def _luminance(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_text_stands_out_on_light_and_dark_pages(page):
    """WCAG 2 AA: 4.5 to 1 for text, 3 to 1 for graphics."""
    themes = re.findall(r":root \{(.*?)\}", page.read_text(), re.DOTALL)[:2]
    for theme in themes:
        colors = dict(re.findall(r"--(\w+): (#\w{6})", theme))
        for ground in ("paper", "panel"):
            for text in ("ink", "quiet", "hw", "hybrid", "sw", "good", "bad"):
                high, low = sorted((_luminance(colors[text]), _luminance(colors[ground])), reverse=True)
                assert (high + 0.05) / (low + 0.05) >= 4.5, (text, ground)


def test_in_print_nothing_is_hidden_or_cut(report, tmp_path, browser):
    tab = browser.new_page(viewport={"width": 700, "height": 1000}, color_scheme="dark")
    tab.goto(write_report(PartialReport.model_validate(report), tmp_path).as_uri())
    tab.emulate_media(media="print")
    assert tab.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.locator(".filters:visible").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth") <= 700
    assert tab.locator("details li").first.evaluate("e => e.getBoundingClientRect().height") > 0


def test_round_trip_through_the_folder(report, page, tmp_path):
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert write_report(read_report(tmp_path), tmp_path, path=tmp_path / "again.html").read_text() == page.read_text()
