"""Reports read back: what is none is named, damage inside ends in one message; pages are whole or not there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import OutputError, SourceError
from n6convert.report.html import read_report, report_errors
from n6convert.report.render import render_page, render_text


def write(folder: Path, content: Any) -> Path:
    path = folder / "report.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(("content", "problem", "found"), [
    ("", "is not JSON", None), ("{", "is not JSON", None), ("[]", "not a report of n6convert", None),
    ({}, "not a report of n6convert", None), ({"schema_version": 1}, "not a report of n6convert", None),
    ({"schema_version": "2.0"}, "another schema version", "2.0"), ({"schema_version": ""}, "another schema version",
    ""),
    ({"schema_version": "10.1"}, "another schema version", "10.1"), ("[" * 500 + "]" * 500, "nested too deeply", None),
])  # fmt: skip
def test_what_is_no_report(content: Any, problem: str, found: str | None, tmp_path: Path) -> None:
    path = write(tmp_path, content)
    for place in (tmp_path, path):
        with pytest.raises(SourceError, match=problem) as caught:
            read_report(place)
        assert caught.value.place == path and (found is None or caught.value.found == found)


@pytest.mark.parametrize("name", ["", "none", "none.json"])
def test_a_folder_without_one(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no report") as caught:
        read_report(tmp_path / name)
    assert "folder of a run" in str(caught.value.remedy)


@pytest.mark.parametrize("error",
[KeyError("k"), IndexError("i"), TypeError("t"), ValueError("v"), ZeroDivisionError("z"),
                                   AttributeError("a"), OverflowError("o")])  # fmt: skip
def test_damage_inside_is_the_reports_fault(error: Exception) -> None:
    with pytest.raises(SourceError, match="the report is damaged") as caught, report_errors(Path("a"), Path("b")):
        raise error
    assert caught.value.place == "a, b" and str(caught.value.found).startswith(type(error).__name__)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [OutputError("full"), KeyboardInterrupt(), OSError("disk")])
def test_other_errors_pass(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, report_errors(Path("a")):
        raise error
    assert caught.value is error


@pytest.fixture
def template(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of templates in place of the package's own."""
    folder = tmp_path / "templates"
    folder.mkdir()
    (folder / "style.css").write_text("b{}</b>")
    (folder / "script.js").write_text("1<2")
    (folder / "t.html").write_text("<style>{{ style }}</style>{{ script }} {{ text }} {{ picture|svg }} {{ version }}")
    monkeypatch.setattr("n6convert.report.render.files", lambda package: folder)
    return folder


def test_text_is_escaped_and_our_own_styles_and_pictures_are_not(template: Path) -> None:
    page = render_text("t.html", text="<script>'&", picture="<svg/>")
    assert page.startswith("<style>b{}</b></style>1<2 &lt;script&gt;&#39;&amp; <svg/> ")


def test_a_value_that_is_missing_is_a_mistake_of_ours(template: Path) -> None:
    with pytest.raises(Exception, match="'picture' is undefined"):
        render_text("t.html", text="")


def test_a_page_replaces_only_a_page_of_ours(template: Path, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    (template / "t.html").write_text("<!-- Written by n6convert --> {{ text }}")
    render_page(path, "t.html", text="one \udcff")
    assert path.read_text().endswith("one \\udcff"), "what no encoding holds is shown"
    render_page(path, "t.html", text="two")
    path.write_text("mine")
    with pytest.raises(OutputError, match="did not write"):
        render_page(path, "t.html", text="three")
    assert path.read_text() == "mine"
    render_page(path, "t.html", force=True, text="three")
    assert "three" in path.read_text()


def test_a_page_that_cannot_be_written_says_so(template: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="the page cannot be written") as caught:
        render_page(tmp_path / "file" / "page.html", "t.html", text="", picture="")
    assert caught.value.found
