"""Published models on the Hugging Face hub, for which no second source of a hash is known.

What is trusted: one commit, HTTPS, and the hash that the hub itself declares for each file of that commit (the sha256
of large files, git's own hash of small ones). What arrives must have it, and whatever came on first use is the only
content that is taken later on. ``HF_ENDPOINT`` names another hub that speaks the same protocol.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from n6convert.errors import DownloadError
from n6convert.logs import logger
from n6convert.store.hashing import sha256_of
from n6convert.store.inputs import is_file
from n6convert.types import Progress
from n6convert.weights.downloads import Pinned, download, remedied
from n6convert.weights.network import offline, refuse_offline
from n6convert.weights.trust import Record, Records, trusted

if TYPE_CHECKING:
    from n6convert.plugin.interface import Weights

__all__ = ["HubModel", "fetch_hub"]

_LOG = logger(__name__)
_SECONDS = 30.0
_REDIRECTS = range(300, 400)
_POINTER = re.compile(rb"^version https://git-lfs\S*\noid sha256:([0-9a-f]{64})\nsize (\d{1,15})\n", re.ASCII)


@dataclass(frozen=True)
class HubModel:
    """A model as it was published.

    Attributes:
        repository: ``owner/name``.
        files: the weights first, then what is needed beside them.
        commit: 40 hex digits; None where none is known: then the main branch's is taken on first use, and kept.
        license: SPDX identifier or a sentence.
    """

    repository: str
    files: tuple[str, ...]
    commit: str | None
    license: str | None = None


@dataclass(frozen=True)
class _Declared:
    kind: Literal["sha256", "git-blob"]
    digest: str
    size: int | None


def fetch_hub(model: HubModel, cache: Path, progress: Progress | None = None) -> Weights:
    """Weights of a published model: a file, or a folder where files are needed beside it.

    Args:
        cache: folder for downloads; the record of what was trusted lies beside it.
        progress: told what is downloaded.

    Raises:
        DownloadError: the hub cannot be reached, declares nothing, declares another file than came on first use, or
            sends another than it declares; or ``N6CONVERT_OFFLINE`` is set and something is missing.
    """
    from n6convert.plugin.interface import Weights

    records = Records(cache.parent / "weights.lock.json")
    commit = model.commit or _commit(model, records)
    folder = cache / f"{model.repository.replace('/', '--')}@{commit}"
    fetch = _Fetch(model.repository, commit, folder, records, progress)
    files = {name: fetch.file(name, own=trusted() if name == model.files[0] else None) for name in model.files}
    sole = len(files) == 1
    path = folder / model.files[0] if sole else folder
    return Weights(
        "pretrained",
        path,
        files[model.files[0]] if sole else sha256_of(folder),
        f"{model.repository}@{commit}",
        model.license,
        trust=_sentence(model, commit),
        files=files,
        first_use=fetch.first_use,
    )


def _sentence(model: HubModel, commit: str) -> str:
    """On whose word the weights are what they are; equal on every run."""
    if trusted() is not None:
        return "the sha256 that --trust names"
    pinned = "pinned commit" if model.commit else "first used commit"
    return f"hashes declared by {urlsplit(_endpoint()).hostname} over HTTPS for the {pinned} {commit[:12]}"


def _commit(model: HubModel, records: Records) -> str:
    """The commit that main had on first use."""
    known = records.commit(model.repository)
    if known is not None:
        return known
    url = _url(model.repository, "main", model.files[0])
    with _by_hand(url, model.repository, "main", model.files[0]):
        found = _head(url).headers.get("X-Repo-Commit", "")
        if not re.fullmatch("[0-9a-f]{40}", found):
            problem = "the hub does not say which commit it serves"
            raise DownloadError(problem, place=url, found=found or "no X-Repo-Commit")
    records.keep_commit(model.repository, found)
    return str(found)


class _Fetch:
    """The files of one commit into one folder."""

    def __init__(self, repository: str, commit: str, folder: Path, records: Records, progress: Progress | None) -> None:
        self.repository, self.commit, self.folder = repository, commit, folder
        self.records, self.progress = records, progress
        self.first_use = False

    def file(self, name: str, own: str | None) -> str:
        """A file's sha256, once it is in the folder and right; ``own`` is the one that the user trusts."""
        path, key = self.folder / name, f"{self.repository}@{self.commit}/{name}"
        record = self.records.find(key)
        expected = own or (record.sha256 if record else None)
        cached = sha256_of(path) if is_file(path) else None
        if expected is not None and cached not in (None, expected) and offline():
            raise _differs(key, expected, f"sha256 {cached} in {path}", self.records.path)
        if expected is None or cached != expected:
            self._download(name, path, expected, own)
        found = sha256_of(path)
        if expected is not None and found != expected:
            path.unlink()
            raise _differs(key, expected, f"sha256 {found}", self.records.path)
        if record is None or record.sha256 != found:
            self.first_use = True
            self.records.keep(key, Record(found, "user" if own else "hub"))
        return found

    def _download(self, name: str, path: Path, expected: str | None, own: str | None) -> None:
        url = _url(self.repository, self.commit, name)
        with _by_hand(url, self.repository, self.commit, name):
            declared = _declared(url, self.repository, self.commit, name, own)
            if declared.kind == "sha256" and expected is not None and declared.digest != expected:
                raise _differs(f"{url}", expected, f"the hub declares sha256 {declared.digest}", self.records.path)
            pinned = Pinned(url, declared.digest, declared.size, declared.kind, "the one that the hub declares", True)
            _LOG.info("%s: the hub declares %s %s", url, declared.kind, declared.digest)
            download(pinned, path, self.progress)


def _by_hand(url: str, repository: str, revision: str, name: str) -> AbstractContextManager[None]:
    """Names the way to fetch a file by hand where it does not come."""
    command = f"hf download {repository} {name} --revision {revision} --local-dir FOLDER"
    remedy = f"fetch it elsewhere with `{command}` and give --weights, or --weights seeded"
    return remedied(url, f"or {remedy}", alone=remedy)


def _differs(place: str, expected: str, found: str, record: Path) -> DownloadError:
    return DownloadError(
        "the weights are not those that were trusted before",
        place=place,
        limit=f"sha256 {expected}, as {record} or --trust says",
        found=found,
        remedy="find out why; `--trust sha256:...` takes the file that you name instead",
    )


# the hub's protocol -------------------------------------------------------------------------------------------------


def _endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _url(repository: str, revision: str, name: str, kind: str = "resolve") -> str:
    return f"{_endpoint()}/{repository}/{kind}/{revision}/{name}"


def _head(url: str) -> Any:
    """The hub's own answer about a file: redirects inside the hub are followed, those to its storage are not.

    Raises:
        DownloadError: offline, no such file, or not HTTPS.
        OSError: requests' own errors.
    """
    from n6convert.weights.secure_http import session

    refuse_offline(url)
    with session(https_only=True) as connection:
        for _ in range(5):
            options: dict[str, Any] = {"allow_redirects": False, "timeout": _SECONDS}
            answer = connection.head(url, headers={"Accept-Encoding": "identity"}, **options)
            target = urljoin(url, answer.headers.get("Location", ""))
            inside = urlsplit(target).netloc == urlsplit(url).netloc and target != url
            if answer.status_code not in _REDIRECTS or "X-Linked-Etag" in answer.headers or not inside:
                break
            url = target
    if answer.status_code in (401, 403, 404):
        raise DownloadError("the hub has no such public file", place=url, found=f"{answer.status_code} {answer.reason}")
    answer.raise_for_status()
    return answer


def _declared(url: str, repository: str, commit: str, name: str, own: str | None) -> _Declared:
    """The hash and size that the hub declares for a file of a commit; without any, the user's own word counts."""
    answer = _head(url)
    served = answer.headers.get("X-Repo-Commit", commit)
    if served != commit:
        raise DownloadError("the hub serves another commit", place=url, limit=commit, found=served)
    tag = answer.headers.get("X-Linked-Etag") or answer.headers.get("ETag") or ""
    tag = tag.removeprefix("W/").strip('"').lower()
    plain = answer.headers if answer.ok and answer.status_code not in _REDIRECTS else {}
    size = _size(answer.headers.get("X-Linked-Size") or plain.get("Content-Length"))
    if re.fullmatch("[0-9a-f]{64}", tag):
        return _Declared("sha256", tag, size)
    if re.fullmatch("[0-9a-f]{40}", tag):
        return _Declared("git-blob", tag, size)
    pointer = _pointer(_url(repository, commit, name, "raw"))
    if pointer is not None:
        return pointer
    if own is not None:
        return _Declared("sha256", own, size)
    raise DownloadError(
        "the hub declares no hash for the file",
        place=url,
        limit="X-Linked-Etag, ETag or a Git LFS pointer",
        found=tag or "none of them",
        remedy="--trust sha256:... where you know the file's hash",
    )


def _size(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) < 16 else None


def _pointer(url: str) -> _Declared | None:
    """What the file's Git LFS pointer says, where the hub has one."""
    from n6convert.weights.secure_http import session

    with session(https_only=True) as connection, connection.get(url, stream=True, timeout=_SECONDS) as answer:
        found = _POINTER.match(answer.raw.read(1024)) if answer.ok else None
    return _Declared("sha256", found[1].decode(), int(found[2])) if found else None
