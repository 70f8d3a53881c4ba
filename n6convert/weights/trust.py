"""Which downloaded weights are trusted: the user's own word, and a record of what came on first use.

A file that nobody has pinned is taken as the hub declares it, once. Its sha256 is kept in ``weights.lock.json`` beside
the folder of downloads, and any other content under the same name is refused from then on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import DownloadError, N6ConvertError, SourceError
from n6convert.store.cache import write_atomically
from n6convert.store.inputs import is_file, read_json
from n6convert.store.locks import lock_at

__all__ = ["Record", "Records", "refuse_untrusted", "trusted", "trusting"]

_TRUSTED: ContextVar[str | None] = ContextVar("trusted", default=None)
_SCHEMA = 1


@contextmanager
def trusting(digest: str | None) -> Iterator[None]:
    """While this is open, ``digest`` (``sha256:`` and 64 hex digits) is the user's own word on the weights."""
    token = _TRUSTED.set(digest.removeprefix("sha256:").lower() if digest else None)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def trusted() -> str | None:
    """The sha256 that the user trusts, in hex; None where none was given."""
    return _TRUSTED.get()


def refuse_untrusted(origin: str, *digests: str | None) -> None:
    """Raise SourceError where the user trusts one sha256 and the weights have another."""
    own = trusted()
    if own is not None and own not in digests:
        raise SourceError(
            "the weights are not those that --trust names",
            place=origin,
            limit=f"sha256:{own}",
            found=", ".join(f"sha256:{digest}" for digest in digests if digest) or "weights without a file",
        )


@dataclass(frozen=True)
class Record:
    """What a file was when it first came: its sha256, and on whose word."""

    sha256: str
    word: str


class Records:
    """The lock file.

    Args:
        path: where it is; it appears with the first record.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def commit(self, repository: str) -> str | None:
        """The commit that the hub's main branch had on first use."""
        found = self._read()["commits"].get(repository)
        return found if isinstance(found, str) else None

    def find(self, name: str) -> Record | None:
        """The record of a file, by ``repository@commit/file``."""
        found = self._read()["files"].get(name)
        try:
            return None if found is None else Record(**found)
        except TypeError:
            raise self._damaged(f"{name}: {found}") from None

    def keep_commit(self, repository: str, commit: str) -> None:
        """Record the commit that a repository was resolved to."""
        self._add("commits", repository, commit)

    def keep(self, name: str, record: Record) -> None:
        """Write down what a file is; replaces what was written before."""
        self._add("files", name, asdict(record))

    def _add(self, section: str, key: str, value: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with lock_at(self.path.with_name(f".{self.path.name}.lock")):
            content = self._read()
            content[section] = dict(sorted({**content[section], key: value}.items()))
            write_atomically(self.path, f"{json.dumps(content, indent=2)}\n".encode())

    def _read(self) -> dict[str, Any]:
        if not is_file(self.path):
            return {"schema": _SCHEMA, "commits": {}, "files": {}}
        try:
            content = read_json(self.path)
        except (OSError, N6ConvertError) as error:
            raise self._damaged(error) from error
        sections = [content.get(key) for key in ("commits", "files")] if isinstance(content, dict) else []
        if not sections or not all(isinstance(section, dict) for section in sections):
            raise self._damaged("not a record of this version")
        return dict(content)

    def _damaged(self, found: object) -> DownloadError:
        return DownloadError(
            "the record of trusted weights is damaged",
            place=self.path,
            found=found,
            remedy="restore the file, or delete it: then the next download is taken as the first one",
        )
