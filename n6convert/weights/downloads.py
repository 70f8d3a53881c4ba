"""Downloads of pinned files: within a size and a time, resumed after a kill, kept only when they are right."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from n6convert.errors import DownloadError
from n6convert.logs import logger
from n6convert.store.entry import clear
from n6convert.store.hashing import sha256_of
from n6convert.store.inputs import is_file
from n6convert.store.locks import lock_at
from n6convert.types import Progress
from n6convert.weights.network import refuse_offline

__all__ = ["Pinned", "download", "remedied", "reported_to"]

_REPORT: ContextVar[Progress | None] = ContextVar("report", default=None)
_LOG = logger(__name__)
_LARGEST = 4 << 30
_LONGEST_SECONDS = 2 * 3600.0
#: a connection must bring so many bytes in every so many seconds
_LEAST_BYTES, _WINDOW_SECONDS = 32_768, 30.0
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Pinned:
    """What is downloaded.

    Attributes:
        url: where it is published.
        digest: what it must hash to, lower-case hex.
        size: bytes it must have, where that is known.
        kind: how it is hashed: ``sha256``, or as git names a file's content.
        name: what messages call the right file.
        https_only: whether a redirect may not leave HTTPS.
    """

    url: str
    digest: str
    size: int | None = None
    kind: Literal["sha256", "git-blob"] = "sha256"
    name: str = "the pinned one"
    https_only: bool = False

    @property
    def largest(self) -> int:
        """Bytes that the file may have."""
        return self.size or _LARGEST

    def hash_of(self, path: Path) -> str:
        """A file's hash of this kind."""
        return sha256_of(path) if self.kind == "sha256" else _git_blob(path)


def _git_blob(path: Path) -> str:
    """What git calls a file's content: SHA-1 of its length and its bytes."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@contextmanager
def reported_to(progress: Progress | None) -> Iterator[None]:
    """While this is open, downloads that nobody else watches are told to ``progress``."""
    token = _REPORT.set(progress)
    try:
        yield
    finally:
        _REPORT.reset(token)


def download(pinned: Pinned, target: Path, progress: Progress | None = None) -> None:
    """Bring a file to its place; what an earlier, killed download left is continued.

    Args:
        pinned: address, size and sha256.
        target: where the file belongs.
        progress: called as ``progress(what, done, total)`` in bytes.

    Raises:
        DownloadError: the file is not the pinned one, too large, or comes too slowly.
        OSError: the network or the disk refuses; requests' own errors are OSErrors.
    """
    progress = progress or _REPORT.get()
    part = target.with_name(f"{target.name}.part")
    for place in (target, part):
        if not is_file(place):
            clear(place)  # a folder, a link to nowhere
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone(target):
        if is_file(target) and pinned.hash_of(target) == pinned.digest:
            return
        resumed = is_file(part)
        _fill(pinned, part, target.name, progress)
        if resumed and not _is_short(pinned, part) and pinned.hash_of(part) != pinned.digest:
            part.unlink()  # what lay there was of another file
            _fill(pinned, part, target.name, progress)
        _check(pinned, part)
        part.replace(target)


def _is_short(pinned: Pinned, part: Path) -> bool:
    return pinned.size is not None and part.stat().st_size < pinned.size


def _check(pinned: Pinned, part: Path) -> None:
    """Refuse what arrived; a beginning is kept, to be continued."""
    if _is_short(pinned, part):
        raise DownloadError(
            "the download ended early",
            place=pinned.url,
            limit=f"{pinned.size:,} bytes",
            found=f"{part.stat().st_size:,} bytes",
            remedy="run again: it continues where it stopped",
        )
    found = pinned.hash_of(part)
    if found != pinned.digest:
        part.unlink()
        raise DownloadError(
            f"the downloaded file is not {pinned.name}",
            place=pinned.url,
            limit=f"{pinned.kind} {pinned.digest}",
            found=f"{pinned.kind} {found}",
            remedy="someone changed the file, or a proxy answered instead",
        )


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

    from n6convert.weights.secure_http import session

    refuse_offline(pinned.url)
    done = part.stat().st_size if is_file(part) else 0
    if done > pinned.largest:
        part.unlink()
        done = 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    headers["Accept-Encoding"] = "identity"
    with (
        session(https_only=pinned.https_only) as connection,
        connection.get(pinned.url, headers=headers, stream=True, timeout=_WINDOW_SECONDS) as response,
    ):
        if done and response.status_code == requests.codes.requested_range_not_satisfiable:
            return  # it is whole, or its hash will tell
        response.raise_for_status()
        if response.status_code != requests.codes.partial_content:
            done = 0
        _LOG.info("%s: %s, from byte %d", response.url, response.status_code, done)
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


@contextmanager
def remedied(url: str, remedy: str, *, alone: str | None = None) -> Iterator[None]:
    """Name the way out of a download that fails; what the network raises becomes one error.

    Args:
        url: where the file is published.
        remedy: is added to that of a refused file.
        alone: the remedy where nothing came; None: the same one.

    Raises:
        DownloadError: in place of whatever was raised.
    """
    try:
        yield
    except DownloadError as error:
        error.remedy = f"{error.remedy}; {remedy}" if error.remedy else remedy
        raise
    except Exception as error:  # requests, urllib3, OSError
        raise DownloadError(
            "pretrained weights cannot be downloaded",
            place=url,
            found=f"{type(error).__name__}: {error}",
            remedy=remedy if alone is None else alone,
        ) from error
