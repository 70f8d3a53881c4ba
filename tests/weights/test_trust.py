"""The record of downloaded weights: written once, read strictly, and the user's own word above it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import DownloadError, SourceError
from n6convert.weights.secure_http import refuse_plain, session
from n6convert.weights.trust import Record, Records, refuse_untrusted, trusted, trusting

ONE, TWO = "a" * 64, "b" * 64


def test_what_is_kept_is_found_again_in_a_readable_file(tmp_path: Path) -> None:
    records = Records(tmp_path / "in" / "weights.lock.json")
    assert records.find("o/m@c/w.bin") is None and records.commit("o/m") is None and not records.path.exists()
    records.keep("o/m@c/w.bin", Record(ONE, "hub"))
    records.keep("o/m@c/a.bin", Record(TWO, "git"))
    records.keep_commit("o/m", "c0ffee")
    again = Records(records.path)
    assert again.find("o/m@c/w.bin") == Record(ONE, "hub") and again.commit("o/m") == "c0ffee"
    content = json.loads(records.path.read_text())
    assert list(content["files"]) == ["o/m@c/a.bin", "o/m@c/w.bin"] and content["schema"] == 1
    again.keep("o/m@c/w.bin", Record(TWO, "user"))
    assert records.find("o/m@c/w.bin") == Record(TWO, "user")
    assert {p.name for p in records.path.parent.iterdir()} <= {"weights.lock.json", ".weights.lock.json.lock"}


@pytest.mark.parametrize("text", [
    "", "[]", "{}", '{"files": {}}', '{"files": [], "commits": {}}', '{"commits": {}, "files": {"n": []}}',
    '{"commits": {}, "files": {"n": {"sha256": "x"}}}',
    '{"commits": {}, "files": {"n": {"sha256": 1, "word": "", "z": 2}}}',
])  # fmt: skip
def test_a_record_that_cannot_be_read_is_never_taken_for_an_empty_one(text: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.lock.json"
    path.write_text(text)
    with pytest.raises(DownloadError, match="record of trusted weights is damaged") as caught:
        Records(path).find("n")
    assert caught.value.place == path and "restore the file, or delete it" in str(caught.value.remedy)
    if '"n"' not in text:
        with pytest.raises(DownloadError):
            Records(path).keep_commit("o/m", "c")
        assert path.read_text() == text, "nor written over"


def test_a_commit_that_is_no_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "weights.lock.json"
    path.write_text('{"commits": {"o/m": 3}, "files": {}}')
    assert Records(path).commit("o/m") is None


@pytest.mark.parametrize(("word", "digests", "fine"), [
    (None, [ONE], True), (None, [], True), (ONE, [ONE], True), (f"sha256:{ONE.upper()}", [TWO, ONE], True),
    (ONE, [TWO], False), (ONE, [None], False), (ONE, [], False), ("", [TWO], True),
])  # fmt: skip
def test_the_users_word(word: str | None, digests: list[Any], fine: bool) -> None:
    with trusting(word):
        if fine:
            refuse_untrusted("o/m", *digests)
            return
        with pytest.raises(SourceError, match="not those that --trust names") as caught:
            refuse_untrusted("o/m", *digests)
    assert caught.value.limit == f"sha256:{ONE}"
    assert caught.value.found == (f"sha256:{TWO}" if TWO in digests else "weights without a file")


def test_the_word_holds_while_it_is_open() -> None:
    with trusting(ONE):
        with trusting(None):
            assert trusted() is None
        assert trusted() == ONE
        with pytest.raises(ZeroDivisionError), trusting(TWO):
            raise ZeroDivisionError
        assert trusted() == ONE
    assert trusted() is None


@pytest.mark.parametrize(("url", "came_from", "fine"), [
    ("https://a.org/x", None, True), ("HTTPS://a.org/x", "https://b.org", True), ("http://a.org/x", None, False),
    ("http://a.org/x", "https://a.org/x", False), ("http://127.0.0.1:8000/x", None, True),
    ("http://localhost/x", "http://127.0.0.1/y", True), ("http://localhost/x", "https://a.org", False),
    ("http://127.0.0.1.evil.org/x", None, False), ("http://localhost@evil.org/x", None, False),
    ("ftp://a.org/x", None, False), ("file:///etc/passwd", None, False), ("http://[::1]/x", None, True),
    ("", None, False),
])  # fmt: skip
def test_only_https_or_this_machine_talking_to_itself(url: str, came_from: str | None, fine: bool) -> None:
    if fine:
        refuse_plain(url, came_from)
        return
    with pytest.raises(DownloadError, match="leave HTTPS") as caught:
        refuse_plain(url, came_from)
    assert caught.value.found == url and caught.value.place == (came_from or url)


def test_a_plain_request_never_leaves() -> None:
    with session(https_only=True) as connection, pytest.raises(DownloadError, match="leave HTTPS"):
        connection.get("http://example.org/w.bin", timeout=1)
