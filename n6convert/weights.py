"""Where a model's numbers come from: a file, seeded, or pretrained through the plugin; never silently another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.cache import sha256_of
from n6convert.errors import DownloadError, SourceError

if TYPE_CHECKING:
    from n6convert.plugin import ModelPlugin, Weights

__all__ = ["fetch", "refuse_foreign", "resolve"]

Progress = Callable[[str, int, "int | None"], None]
_ALTERNATIVES = "give a file you have with --weights FILE, or --weights seeded for placement, memory and time alone"


def resolve(value: str, plugin: Callable[[], ModelPlugin], *, seed: int, cache: Path) -> Weights:
    """Turn the recipe's ``weights`` into Weights.

    Args:
        value: ``seeded``, a path, or a name that the plugin knows (``pretrained``).
        plugin: called only for names that are neither.
        seed: for seeded weights.
        cache: folder for downloads.

    Raises:
        SourceError: no such file, an empty file, a web page or a Git LFS pointer in its place.
        DownloadError: pretrained weights cannot be had.
    """
    from n6convert.plugin import Weights

    if value == "seeded":
        return Weights("seeded", origin=f"seeded({seed})")
    path = Path(value).expanduser()
    if path.exists():
        refuse_foreign(path)
        return Weights("file", path.resolve(), _identity(path), str(path))
    found = plugin().resolve_weights(value, cache=cache)
    if found is None:
        raise SourceError(
            "the weights do not exist", place=value,
            limit="an existing file or folder, `seeded`, or a name the model knows such as `pretrained`",
            remedy=_ALTERNATIVES,
        )
    return found


def _identity(path: Path) -> str:
    """Hash of a file or folder; of an ONNX file together with the files that hold its weights."""
    from n6convert.graph.external import files_beside

    own, beside = sha256_of(path), [sha256_of(file) for file in files_beside(path)]
    return hashlib.sha256("".join([own, *beside]).encode()).hexdigest() if beside else own


def refuse_foreign(path: Path) -> None:
    """Raise SourceError for a file that is empty, a web page, or a Git LFS pointer; folders pass.

    These three stand in for weights whatever the format; what else a file may be, the reader of its format judges.
    """
    if path.is_dir():
        return
    with path.open("rb") as stream:
        head = stream.read(512)
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        raise SourceError("the file is empty", place=path, remedy="download it again")
    if start.startswith((b"<!doctype html", b"<html", b"<?xml", b"<head")):
        raise SourceError(
            "the file is a web page, not weights", place=path, remedy="download the file itself, not the page about it"
        )
    if head.startswith(b"version https://git-lfs"):
        raise SourceError("the file is a Git LFS pointer, not weights", place=path, remedy="git lfs pull")


def fetch(url: str, sha256: str, cache: Path, *, name: str | None = None, progress: Progress | None = None) -> Path:
    """Download a pinned file once and return its path; it appears under its name only when complete and right.

    Args:
        url: where it is published.
        sha256: what it must hash to, lower-case hex.
        cache: folder that keeps it.
        name: file name in the cache; default the URL's last part.
        progress: called with bytes done and in all.

    Raises:
        DownloadError: it cannot be fetched, or hashes to something else; the message names URL, cache path and
            alternatives.
    """
    import pooch

    pooch.get_logger().setLevel("ERROR")
    target = cache / f"{sha256[:12]}-{name or url.rsplit('/', 1)[-1]}"
    try:
        bar = _Bar(target.name, progress) if progress else False
        found = pooch.retrieve(
            url, known_hash=f"sha256:{sha256}", fname=target.name, path=cache,
            downloader=pooch.HTTPDownloader(progressbar=bar, chunk_size=1 << 16, timeout=30),
        )
    except ValueError as error:
        raise DownloadError(
            "the downloaded file is not the pinned one", place=url, limit=f"sha256 {sha256}", found=str(error),
            remedy=f"someone changed the file, or a proxy answered instead; {_ALTERNATIVES}",
        ) from error
    except Exception as error:  # requests, urllib3, OSError
        raise DownloadError(
            "pretrained weights cannot be downloaded", place=url, found=f"{type(error).__name__}: {error}",
            remedy=f"put the file (sha256 {sha256}) at {target}, or {_ALTERNATIVES}",
        ) from error
    return Path(found)


class _Bar:
    """What pooch asks of a progress bar, handed on to our callback."""

    def __init__(self, what: str, progress: Progress) -> None:
        self.total: Any = None
        self._what, self._progress, self._done = what, progress, 0

    def update(self, count: int) -> None:
        self._done += count
        self._progress(f"downloading {self._what}", self._done, int(self.total) if self.total else None)

    def reset(self) -> None:
        self._done = 0

    def close(self) -> None:
        """Nothing to close."""
