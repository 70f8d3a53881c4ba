"""Where weights come from, and everything that is not weights."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from n6convert.errors import DownloadError, PluginError, SourceError
from n6convert.plugin import ModelPlugin, Weights
from n6convert.registry import load_plugin
from n6convert.weights.resolution import fetch, resolve

CONTENT = b"weights" * 10_000
SHA = hashlib.sha256(CONTENT).hexdigest()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "www"
    folder.mkdir()
    (folder / "model.pt").write_bytes(CONTENT)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


class NoPlugin:
    """A plugin that knows no names."""

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        return None


def resolved(value: str, tmp_path: Path) -> Weights:
    return resolve(value, NoPlugin, seed=3, cache=tmp_path)  # type: ignore[arg-type]


def test_seeded_needs_no_plugin(tmp_path: Path) -> None:
    weights = resolve("seeded", lambda: pytest.fail("asked the plugin"), seed=3, cache=tmp_path)
    assert (weights.kind, weights.origin, weights.trained) == ("seeded", "seeded(3)", False)


def test_file_is_hashed(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(CONTENT)
    weights = resolved(str(path), tmp_path)
    assert (weights.kind, weights.sha256, weights.trained) == ("file", SHA, True)


def test_folder_is_hashed_by_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text("{}")
    first = resolved(str(tmp_path / "hf"), tmp_path).sha256
    (tmp_path / "hf" / "config.json").write_text("{ }")
    assert resolved(str(tmp_path / "hf"), tmp_path).sha256 != first


def test_unknown_name_says_what_would_be_allowed(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="pretrained.*\n.*\n.*seeded|seeded"):
        resolved("nothing.pt", tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>not found</html>", "web page"),
        (b"\n  <html lang='en'>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "git lfs pull"),
    ],
)
def test_what_stands_in_for_weights_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words):
        resolved(str(path), tmp_path)


def test_download_is_kept_and_reported(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    cache = tmp_path / "cache"
    path = fetch(f"{server}/model.pt", SHA, cache, progress=lambda what, done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT and path.parent == cache
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert fetch("http://127.0.0.1:9/model.pt", SHA, cache) == path, "the second time needs no network"


def test_other_content_than_pinned_is_refused_and_not_kept(server: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(DownloadError, match="not the pinned one") as caught:
        fetch(f"{server}/model.pt", "0" * 64, cache)
    assert "0" * 64 in str(caught.value) and f"{server}/model.pt" in str(caught.value)
    assert not [p for p in cache.iterdir() if p.is_file()]


@pytest.mark.parametrize("path", ["absent.pt", None])
def test_offline_names_url_cache_path_and_alternatives(server: str, tmp_path: Path, path: str | None) -> None:
    url = f"{server}/{path}" if path else "http://127.0.0.1:9/model.pt"
    with pytest.raises(DownloadError) as caught:
        fetch(url, SHA, tmp_path / "cache")
    text = str(caught.value)
    assert url in text and str(tmp_path / "cache") in text and SHA in text
    assert "--weights FILE" in text and "seeded" in text


class Slow(SimpleHTTPRequestHandler):
    """Answers that no honest server gives, and resumption."""

    seen: ClassVar[list[str | None]] = []

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        Slow.seen.append(self.headers.get("Range"))
        kind, start = self.path.strip("/"), 0
        if kind == "resume" and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.send_response(206)
        else:
            self.send_response(200)
        length = {"huge": 10**13, "short": 2 * len(CONTENT), "endless": None, "odd": "9" * 40}.get(kind, len(CONTENT))
        if length is not None:
            self.send_header("Content-Length", str(length if not start else len(CONTENT) - start))
        self.end_headers()
        with contextlib.suppress(OSError):
            if kind == "drip":
                while True:
                    self.wfile.write(b"x")
                    time.sleep(0.02)
            while kind == "endless":
                self.wfile.write(CONTENT)
            self.wfile.write(CONTENT[start:])


@pytest.fixture
def odd_server() -> Iterator[str]:
    Slow.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("huge", "too large"), ("endless", "too large"), ("short", "IncompleteRead"), ("drip", "too slow"), ("odd", "")],
)
def test_what_a_server_sends_is_bounded(
    odd_server: str, tmp_path: Path, kind: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("n6convert.weights.downloads._WINDOW_SECONDS", 0.3)
    if kind == "odd":
        with contextlib.suppress(DownloadError):
            assert fetch(f"{odd_server}/{kind}", SHA, tmp_path).read_bytes() == CONTENT
        return
    with pytest.raises(DownloadError, match=words) as caught:
        fetch(f"{odd_server}/{kind}", SHA, tmp_path, size=len(CONTENT) + (len(CONTENT) if kind == "short" else 1))
    assert "--weights FILE" in str(caught.value)
    assert sum(p.stat().st_size for p in tmp_path.iterdir()) <= 2 * len(CONTENT) + (1 << 17)


def test_a_killed_download_is_resumed_or_begun_again(odd_server: str, tmp_path: Path) -> None:
    part = tmp_path / f"{SHA[:12]}-resume.part"
    for left, asked in ((CONTENT[:1000], ["bytes=1000-"]), (b"other content", ["bytes=13-", None])):
        Slow.seen.clear()
        part.write_bytes(left)
        path = fetch(f"{odd_server}/resume", SHA, tmp_path)
        assert path.read_bytes() == CONTENT and Slow.seen == asked
        assert [p.name for p in tmp_path.iterdir()] == [path.name]
        path.unlink()


@pytest.mark.parametrize("name", ["", ".part"])
def test_what_is_in_a_downloads_way_is_removed(server: str, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{SHA[:12]}-model.pt{name}" / "sub").mkdir(parents=True)
    assert fetch(f"{server}/model.pt", SHA, tmp_path).read_bytes() == CONTENT


class FilesOnly(NoPlugin):
    takes_folders = False
    check_folder = ModelPlugin.check_folder


def test_a_folder_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "big").mkdir()
    monkeypatch.setattr("n6convert.weights.resolution.sha256_of", lambda *_: pytest.fail("was hashed"))
    with pytest.raises(SourceError, match="takes a file"):
        resolve(str(tmp_path / "big"), FilesOnly, seed=0, cache=tmp_path)  # type: ignore[arg-type]
    os.mkfifo(tmp_path / "big/pipe")
    for path in (tmp_path / "big", tmp_path / "big/pipe"):
        with pytest.raises(SourceError, match="pipe or device"):
            resolved(str(path), tmp_path)


def test_hashing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("n6convert.weights.resolution._WORTH_TELLING", len(CONTENT))
    (tmp_path / "w").mkdir()
    for name in "ab":
        (tmp_path / "w" / name).write_bytes(CONTENT)
    seen: list[int] = []
    keep = lambda what, done, total: seen.append(done)  # noqa: E731
    resolve(str(tmp_path / "w"), NoPlugin, seed=0, cache=tmp_path, progress=keep)  # type: ignore[arg-type]
    assert seen == [len(CONTENT), 2 * len(CONTENT)]


@pytest.mark.parametrize("name", ["yolov8n", "efficientvit", "tinybert", "mobilevit", "movenet", "onnx"])
def test_every_plugin_looks_at_a_folder_first(name: str, tmp_path: Path) -> None:
    try:
        plugin = load_plugin(name)
    except PluginError:
        pytest.skip(f"{name} is not installed")
    with pytest.raises(SourceError):
        plugin(name, plugin.Options()).check_folder(tmp_path)
