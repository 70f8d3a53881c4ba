"""A report.json that somebody sent: nothing in it runs, nothing outside its folder is read, damage is one message."""

from __future__ import annotations

import base64
import copy
import json
import os
import random
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from n6convert.cli import run
from n6convert.errors import SourceError
from n6convert.report.html import read_report, write_report
from n6convert.report.schema import PartialReport

PAYLOADS = [
    '"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>", "</title></style></svg><script>alert(1)</script>",
    'hw" onload="alert(1)', "{{ 7*7 }}", "javascript:alert(1)", "\u202e\x1b[2J", "<!--", "]]>", "&lt;script&gt;",
    "\ud800",
]  # fmt: skip
ODD = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**30, 10**400, "", "x", [], {}, [1], {"a": 1}, [[]],
    "../" * 20 + "etc/passwd", "a" * 5000,
]  # fmt: skip


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from leaves(inner, (*path, key))


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def with_texts(value: Any, payload: str) -> Any:
    if isinstance(value, dict):
        return {k: with_texts(v, payload) for k, v in value.items()}
    if isinstance(value, list):
        return [with_texts(item, payload) for item in value]
    return payload if isinstance(value, str) else value


@pytest.mark.parametrize("payload", PAYLOADS)
def test_every_text_is_text(report: dict[str, Any], tmp_path: Path, payload: str) -> None:
    hostile = with_texts(report, payload) | {"schema_version": "1.0", "sqnr_db": {payload: 3.5}}
    (tmp_path / "report.json").write_text(json.dumps(hostile))
    assert run(["report", str(tmp_path)]) == 0
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    drawn = write_report(PartialReport.model_validate(report), tmp_path, path=tmp_path / "plain.html")
    plain = Page(drawn.read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in plain.tags}
    assert {name for _, attributes in page.tags for name in attributes} <= {n for _, a in plain.tags for n in a}
    for _, attributes in page.tags:
        assert re.fullmatch(r"[a-z0-9 -]*", attributes.get("class", ""))
        assert attributes.get("data-where", "hw") in {"hw", "hybrid", "sw", "none"}
        assert not attributes.get("href", "data:").lower().startswith("javascript")


def test_only_pictures_in_the_folder_are_shown(report: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "pictures").mkdir(parents=True)
    (tmp_path / "secret").write_text("a secret outside")
    (folder / "pictures/link.png").symlink_to(tmp_path / "secret")
    (folder / "pictures/00-good.png").write_bytes(b"a picture inside")
    names = ["../../secret", "link.png", f"{tmp_path}/secret", "a" * 5000, "00-good.png", "\0"]
    report["files"] = [{"path": f"pictures/{name}", "sha256": ""} for name in names]
    (folder / "report.json").write_text(json.dumps(report))
    assert run(["report", str(folder)]) == 0
    text = (folder / "report.html").read_text()
    assert base64.b64encode(b"a secret outside").decode() not in text
    assert base64.b64encode(b"a picture inside").decode() in text


def test_any_damage_is_one_message_or_none(
    report: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw = random.Random(0)
    places = list(leaves(report))
    folder = tmp_path / "run"
    folder.mkdir()
    refused = 0
    for _ in range(120):
        damaged = copy.deepcopy(report)
        for path in draw.sample(places, draw.choice([1, 1, 2])):
            try:
                parent = at(damaged, path[:-1])
                if draw.random() < 0.2:
                    del parent[path[-1]]
                else:
                    parent[path[-1]] = draw.choice(ODD)
            except (KeyError, IndexError, TypeError):
                continue  # its parent was damaged before
        (folder / "report.json").write_text(json.dumps(damaged))
        for command in (["report", str(folder)], ["diff", str(folder), str(folder), "--json"]):
            code = run(command)
            shown = capsys.readouterr().err
            assert code in (0, 1) and "bug" not in shown and "Traceback" not in shown, (command, shown)
            refused += code
    assert 25 < refused < 215


def test_huge_numbers_and_pipes_do_not_hang(report: dict[str, Any], tmp_path: Path) -> None:
    report["memory"]["buffers"] *= 5000
    for buffer in report["memory"]["buffers"]:
        buffer["last"] = 20_000
    (tmp_path / "report.json").write_text(json.dumps(report))
    assert run(["report", str(tmp_path)]) == 0
    report["memory"]["buffers"][0]["last"] = 10**12
    (tmp_path / "report.json").write_text(json.dumps(report))
    with pytest.raises(SourceError, match="damaged"):
        read_report(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="no file"):
        read_report(tmp_path / "pipe")
