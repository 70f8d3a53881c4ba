"""The cache of an earlier run: entries damaged, replaced by other things, or gone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random

from n6convert.cli import run
from n6convert.store.cache import Cache

from .small import convert_command, write_small

__all__ = ["write"]

_ODD = [None, [], {}, 1, "x", {"../../victim": "0" * 64}, {"/etc/passwd": "x"}, [[]], {"a" * 999: "x"}]


def write(rng: Random, folder: Path) -> list[list[str]]:
    """Convert once, damage one entry to three, convert again."""
    write_small(folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            run(convert_command("first"))
    finally:
        os.chdir(before)
    root = Cache().root
    for entry in rng.sample(found := sorted(root.glob("stages/*/*")), min(len(found), rng.randint(1, 3))):
        rng.choice(_DAMAGES)(rng, entry)
    if rng.random() < 0.2:
        _in_the_way(rng, rng.choice([root / "stages", root / "scratch", root / "running", root / "stages" / "lint"]))
    return [convert_command("second"), ["diff", "first", "second", "--json"]]


def _bytes(rng: Random, entry: Path) -> None:
    files = [p for p in entry.rglob("*") if p.is_file() and not p.is_symlink()]
    if files:
        path = rng.choice(files)
        data = bytearray(path.read_bytes() or b"x")
        data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))


def _record(rng: Random, entry: Path) -> None:
    path = entry / "entry.json"
    with contextlib.suppress(OSError, ValueError):
        record = json.loads(path.read_text())
        key = rng.choice([*record, "more"]) if isinstance(record, dict) else ""
        odd = rng.choice(_ODD)
        path.write_text(json.dumps(record | {key: odd} if key and rng.random() < 0.8 else odd))


def _gone(rng: Random, entry: Path) -> None:
    files = [p for p in entry.rglob("*") if p.is_file()]
    if files:
        rng.choice(files).unlink()


def _in_the_way(rng: Random, place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    kind = rng.choice(["file", "folder", "loop", "broken", "link", "pipe"])
    if kind == "file":
        place.write_text("x")
    elif kind == "folder":
        (place / "entry.json").mkdir(parents=True)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place.symlink_to({"loop": place, "broken": "absent", "link": place.parent}[kind])


_DAMAGES: list[Callable[[Random, Path], None]] = [_bytes, _bytes, _record, _record, _gone, _in_the_way]
