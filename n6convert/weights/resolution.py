"""Where a model's numbers come from: a file, seeded, or pretrained through the plugin; never silently another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import SourceError
from n6convert.escaping import file_name
from n6convert.store.hashing import sha256_of
from n6convert.store.inputs import exists, is_file, user_path
from n6convert.types import Progress

if TYPE_CHECKING:
    from n6convert.plugin import ModelPlugin, Weights

__all__ = ["fetch", "reject_non_weight_file", "resolve"]

#: bytes from which hashing takes so long that a reader wonders
_WORTH_TELLING = 1 << 28
_ALTERNATIVES = "give a file you have with --weights FILE, or --weights seeded for placement, memory and time alone"


def resolve(
    value: str, plugin: Callable[[], ModelPlugin], *, seed: int, cache: Path, progress: Progress | None = None
) -> Weights:
    """Turn the recipe's ``weights`` into Weights.

    Args:
        value: ``seeded``, a path, or a name that the plugin knows (``pretrained``).
        plugin: called for names that are neither, and for folders: it knows whether it takes them.
        seed: for seeded weights.
        cache: folder for downloads.
        progress: told while files are hashed.

    Raises:
        SourceError: no such file, an empty file, a web page or a Git LFS pointer in its place; a folder that the plugin
            does not take; a pipe or device.
        DownloadError: pretrained weights cannot be had.
    """
    from n6convert.plugin import Weights
    from n6convert.weights.downloads import reported_to

    if value == "seeded":
        return _trusted(Weights("seeded", origin=f"seeded({seed})"))
    path = user_path(value)
    if exists(path):
        try:
            reject_non_weight_file(path)
            if path.is_dir():
                _check_folder(path, plugin())
            return _trusted(Weights("file", path.resolve(), _identity(path, progress), str(path)))
        except OSError as error:
            raise SourceError(
                "the weights cannot be read", place=error.filename or path, found=error.strerror or error
            ) from error
    with reported_to(progress):
        found = plugin().resolve_weights(value, cache=cache)
    if found is None:
        raise SourceError(
            "the weights do not exist",
            place=value,
            limit="an existing file or folder, `seeded`, or a name the model knows such as `pretrained`",
            remedy=_ALTERNATIVES,
        )
    return _trusted(found)


def _trusted(weights: Weights) -> Weights:
    """The weights, with the word on which they are taken; refused where ``--trust`` names others."""
    from n6convert.weights.trust import refuse_untrusted, trusted

    refuse_untrusted(weights.origin, weights.sha256, *weights.files.values())
    word = "the sha256 that --trust names" if trusted() else "the plugin alone"
    asked = weights.kind == "pretrained" or trusted()
    return replace(weights, trust=word) if asked and not weights.trust else weights


def _identity(path: Path, progress: Progress | None) -> str:
    """Hash of a file or folder; of an ONNX file together with the files that hold its weights."""
    from n6convert.graph.external import files_beside

    own, beside = sha256_of(path, _hashing(path, progress)), [sha256_of(file) for file in files_beside(path)]
    return hashlib.sha256("".join([own, *beside]).encode()).hexdigest() if beside else own


def _check_folder(path: Path, plugin: ModelPlugin) -> None:
    """Refuse a folder before anything in it is read whole: all of a home folder may lie below it."""
    check = getattr(plugin, "check_folder", None)
    if check is not None:
        check(path)
    special = next((p for p in path.rglob("*") if not p.is_dir() and p.exists() and not p.is_file()), None)
    if special is not None:
        raise SourceError("a pipe or device among the weights", place=special, limit="files and folders")


def _hashing(path: Path, progress: Progress | None) -> Callable[[int], None]:
    def tell(done: int) -> None:
        if progress is not None and done >= _WORTH_TELLING:
            progress(f"weights: hashing {path.name}", done, None)

    return tell


def reject_non_weight_file(path: Path) -> None:
    """Raise SourceError for a file that is empty, a web page, a Git LFS pointer or no regular file; folders pass.

    These stand in for weights whatever the format; what else a file may be, the reader of its format judges.
    """
    if path.is_dir():
        return
    if not path.is_file():
        raise SourceError("a pipe or device in place of weights", place=path, limit="a file or folder")
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


def fetch(
    url: str,
    sha256: str,
    cache: Path,
    *,
    name: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> Path:
    """Download a pinned file once and return its path; it appears under its name only when complete and right.

    Args:
        url: where it is published.
        sha256: what it must hash to, lower-case hex.
        cache: folder that keeps it.
        name: file name in the cache; default the URL's last part.
        size: bytes it must have, where known; 4 GB at most otherwise.
        progress: called with bytes done and in all.

    Raises:
        DownloadError: it cannot be fetched, takes too long, is too large, or hashes to something else; the message
            names URL, cache path and alternatives.
    """
    from n6convert.weights.downloads import Pinned, download, remedied

    target = cache / f"{sha256[:12]}-{file_name(name or url.rsplit('/', 1)[-1])}"
    if is_file(target) and sha256_of(target) == sha256:
        return target
    with remedied(url, _ALTERNATIVES, alone=f"put the file (sha256 {sha256}) at {target}, or {_ALTERNATIVES}"):
        download(Pinned(url, sha256, size), target, progress)
    return target
