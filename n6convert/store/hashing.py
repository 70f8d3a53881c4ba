"""Content hashes: of files, of JSON-ready data, and of JSON files that carry a hash of themselves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import N6ConvertError
from n6convert.store.inputs import read_json

__all__ = ["jsonable", "key_of", "read_sealed", "sealed", "sha256_of"]

_CHUNK = 1 << 20


def key_of(parts: Mapping[str, Any]) -> str:
    """Hash of JSON-ready parts, independent of their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def jsonable(value: Any) -> Any:
    """Plain data for JSON: numpy values as Python's, enums and paths as text, NaN and infinity as null."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [jsonable(v) for v in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    return value if value is None or isinstance(value, (bool, int)) else str(value)


def sha256_of(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """Hash of a file, or of a folder's relative file names and file hashes; ``progress`` is told the bytes so far."""
    return _hash(path, _Count(progress))


class _Count:
    """Bytes read, over all files of a folder."""

    def __init__(self, progress: Callable[[int], None] | None) -> None:
        self.done, self.progress = 0, progress

    def add(self, count: int) -> None:
        self.done += count
        if self.progress is not None:
            self.progress(self.done)


def _hash(path: Path, count: _Count) -> str:
    digest = hashlib.sha256()
    if path.is_dir():
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            line = f"{file.relative_to(path).as_posix()}\0{_hash(file, count)}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            count.add(len(chunk))
    return digest.hexdigest()


def sealed(content: Mapping[str, Any]) -> bytes:
    """JSON with a hash of itself, for :func:`read_sealed`."""
    return json.dumps({**content, "seal": key_of(content)}, indent=1, allow_nan=False).encode()


def read_sealed(path: Path) -> dict[str, Any] | None:
    """What :func:`sealed` made, or None for anything else: absent, damaged, edited."""
    try:
        content = read_json(path)
    except (OSError, N6ConvertError):
        return None
    seal = content.pop("seal", None) if isinstance(content, dict) else None
    return content if isinstance(content, dict) and seal == key_of(content) else None
