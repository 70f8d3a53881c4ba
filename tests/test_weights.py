"""Where weights come from, and everything that is not weights."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from n6convert.errors import DownloadError, SourceError
from n6convert.plugin import Weights
from n6convert.weights import fetch, resolve

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
