"""What lies in the cache, and how it is emptied: for ``n6convert cache``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from n6convert.store.cache import Cache
from n6convert.store.entry import clear, move_out
from n6convert.store.inputs import occupied

__all__ = ["PARTS", "Part", "cache_content", "empty_cache"]

#: what can be emptied: name -> what it is
PARTS = {
    "stages": "results of stages; made again when they are needed",
    "weights": "downloaded weights; fetched again when they are needed",
    "trust": "which downloads were trusted on first use; the next ones are taken as the first",
}
_RECORDS = "weights.lock.json"
_BESIDES = ("resolved",)  # remembers where weights are: of no use without them


@dataclass(frozen=True)
class Part:
    """One kind of content.

    Attributes:
        name: ``stages/quantize``, ``weights``, ``trust``.
        entries: how many results or files.
        bytes: their size.
    """

    name: str
    entries: int
    bytes: int


def cache_content(root: Path) -> list[Part]:
    """Results by stage, downloads, and the record of what was trusted; what is empty is left out."""
    stages = sorted(p for p in (root / "stages").glob("*") if p.is_dir())
    parts = [_part(f"stages/{folder.name}", list(folder.iterdir())) for folder in stages]
    parts.append(_part("weights", [p for p in (root / "weights").glob("*") if not p.name.startswith(".")]))
    parts.append(_part("trust", [p for p in (root / _RECORDS,) if p.is_file()]))
    return [part for part in parts if part.entries]


def empty_cache(cache: Cache, parts: Sequence[str]) -> int:
    """Remove parts; results that a living run uses stay.

    Args:
        parts: names from :data:`PARTS`.

    Returns:
        bytes that were freed.
    """
    places: list[Path] = []
    if "stages" in parts:
        places += cache.root.glob("stages/*/*")
    if "weights" in parts:
        places += cache.root.glob("weights/*")
        places += (path for name in _BESIDES for path in cache.root.glob(f"{name}/*"))
    if "trust" in parts:
        places += (path for path in (cache.root / _RECORDS,) if occupied(path))
    freed, out_of_reach = 0, []
    with cache.users.quiet():
        used = {cache.root / name for name in cache.users.used()}
        for path in places:
            if path not in used:
                freed += _size(path)
                out_of_reach.append(move_out(path, cache.root / "scratch"))
    for path in out_of_reach:
        clear(path)
    return freed


def _part(name: str, entries: Sequence[Path]) -> Part:
    return Part(name, len(entries), sum(map(_size, entries)))


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; links count as nothing."""
    total = 0
    for file in [path] if not path.is_dir() or path.is_symlink() else path.rglob("*"):
        with suppress(OSError):
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
    return total
