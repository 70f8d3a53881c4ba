"""Downloads of pinned files: within a size and a time, resumed after a kill, kept only when they are right."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from n6convert.cache_entry import clear
from n6convert.errors import DownloadError
from n6convert.hashing import sha256_of
from n6convert.inputs import is_file
from n6convert.locks import lock_at

__all__ = ["Pinned", "download"]

Progress = Callable[[str, int, "int | None"], None]
_LARGEST = 4 << 30
_LONGEST_SECONDS = 2 * 3600.0
#: a connection must bring so many bytes in every so many seconds
_LEAST_BYTES, _WINDOW_SECONDS = 32_768, 30.0
_CHUNK = 1 << 16


class Pinned:
    """What is downloaded.

    Args:
        url: where it is published.
        sha256: what it must hash to, lower-case hex.
        size: bytes it must have, where that is known.
    """

    def __init__(self, url: str, sha256: str, size: int | None = None) -> None:
        self.url, self.sha256, self.size = url, sha256, size

    @property
    def largest(self) -> int:
        return self.size or _LARGEST


def download(pinned: Pinned, target: Path, progress: Progress | None = None) -> None:
    """Bring a file to its place; what an earlier, killed download left is continued.

    Raises:
        DownloadError: the file is not the pinned one, too large, or comes too slowly.
        OSError: the network or the disk refuses; requests' own errors are OSErrors.
    """
    part = target.with_name(f"{target.name}.part")
    for place in (target, part):
        if not is_file(place):
            clear(place)  # a folder, a link to nowhere
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if is_file(target) and sha256_of(target) == pinned.sha256:
            return
        resumed = is_file(part)
        _fill(pinned, part, target.name, progress)
        if resumed and sha256_of(part) != pinned.sha256:
            part.unlink()  # what lay there was of another file
            _fill(pinned, part, target.name, progress)
        found = sha256_of(part)
        if found != pinned.sha256:
            part.unlink()
            raise DownloadError(
                "the downloaded file is not the pinned one",
                place=pinned.url,
                limit=f"sha256 {pinned.sha256}",
                found=f"sha256 {found}",
                remedy="someone changed the file, or a proxy answered instead",
            )
        part.replace(target)


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """One download of a file at a time; a second one finds it done."""
    lock = lock_at(target.with_name(f".{target.name}.lock"))
    with lock:
        try:
            yield
        finally:
            with suppress(OSError):
                Path(lock.lock_file).unlink()


def _fill(pinned: Pinned, part: Path, what: str, progress: Progress | None) -> None:
    """Download the rest of a file into ``part``."""
    import requests

    done = part.stat().st_size if is_file(part) else 0
    if done > pinned.largest:
        part.unlink()
        done = 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    headers["Accept-Encoding"] = "identity"
    with requests.get(pinned.url, headers=headers, stream=True, timeout=_WINDOW_SECONDS) as response:
        if done and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is whole, or its hash will tell
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            done = 0
        total = _announced(response, done)
        _refuse_size(pinned, total)
        with part.open("ab" if done else "wb", buffering=0) as stream:
            for block in _blocks(response.raw, pinned.url):
                stream.write(block)
                done += len(block)
                _refuse_size(pinned, done)
                if progress:
                    progress(f"downloading {what}", done, total or pinned.size)
            os.fsync(stream.fileno())


def _blocks(raw: Any, url: str) -> Iterator[bytes]:
    """What arrives, as it arrives; ends with a DownloadError where it arrives too slowly."""
    begun = time.monotonic()
    window, recent = begun, 0
    while block := raw.read1(_CHUNK, decode_content=True):
        yield block
        now, recent = time.monotonic(), recent + len(block)
        if now - begun > _LONGEST_SECONDS:
            raise DownloadError("the download takes too long", place=url, limit=f"{_LONGEST_SECONDS / 3600:g} hours")
        if now - window > _WINDOW_SECONDS:
            if recent < _LEAST_BYTES:
                limit = f"{_LEAST_BYTES:,} bytes in {_WINDOW_SECONDS:g} s"
                raise DownloadError("the download is too slow", place=url, limit=limit, found=f"{recent:,} bytes")
            window, recent = now, 0


def _announced(response: Any, done: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return done + int(length) if length.isdecimal() and len(length) < 16 else None


def _refuse_size(pinned: Pinned, size: int | None) -> None:
    if size is not None and size > pinned.largest:
        raise DownloadError(
            "the file to download is too large",
            place=pinned.url,
            limit=f"{pinned.largest:,} bytes",
            found=f"{size:,} bytes or more",
        )
