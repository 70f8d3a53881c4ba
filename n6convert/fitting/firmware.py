"""``fit --write``: the packages of a cascade for one firmware, with addresses side by side and shared arenas.

Every package is copied with a memory description of its own: the same RAM as the others, since they take turns, less
what holds results that wait; in the flash its own region. What ties them together is one header, one source, a script.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import OutputError, SourceError, UsageError
from n6convert.escaping import c_identifier, line_comment
from n6convert.fitting.cascade_source import Turn, cascade_files
from n6convert.fitting.plan import FlashRegion, Together
from n6convert.npu.st.mpool import MemoryPool
from n6convert.npu.targets import load_target
from n6convert.package.board_files import board_files, network_of
from n6convert.package.flash import flash_pool
from n6convert.store.cache import os_errors

if TYPE_CHECKING:
    from n6convert.fitting.resident import Resident
    from n6convert.npu.targets import Target

__all__ = ["write_firmware"]

_HEADER = "n6_cascade.h"
_LINE = 32
_LEFT_BEHIND = ("report.html", "report.json", "manifest.json")


@dataclass(frozen=True)
class _Package:
    """A finished package: folder, network's name, prefix of its symbols, compile command, bytes of its outputs."""

    folder: Path
    network: str
    stem: str
    command: Sequence[str]
    sizes: Sequence[int]


def write_firmware(
    folder: Path, packages: Sequence[Path], together: Together, target: str, pools: Sequence[MemoryPool]
) -> list[Path]:
    """Write the packages of models that take turns, for one firmware.

    Args:
        folder: gets a folder a package, ``n6_cascade.h`` and ``.c``, and scripts; empty, or written by this before.
        packages: folders of finished runs, in the order of their turns.
        together: their plan.
        target: board and compiler version.
        pools: of the board.

    Returns:
        the packages' new folders.

    Raises:
        UsageError: two packages have one network name, or the models do not fit together.
        SourceError: a folder is no package of this version.
        OutputError: the folder holds something else.
    """
    if not together.fits:
        raise UsageError(
            "the models do not fit together", remedy="`n6convert fit` without --write says what would help"
        )
    read = [_read(path) for path in packages]
    _refuse_equal_names(read)
    if folder.exists() and any(folder.iterdir()) and not (folder / _HEADER).exists():
        raise OutputError("the folder holds something else", place=folder, remedy="name a new one")
    board = load_target(target)
    turns: list[Turn] = []
    for index, package in enumerate(read):
        turns.append(_turn(package, index, together, pools, turns))
    made = []
    with os_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for package, turn, region, resident in zip(read, turns, together.flash, together.residents, strict=True):
            made.append(folder / package.network)
            own = _pools_of(pools, region, resident, turns[: turns.index(turn)])
            _copy(package, made[-1], replace(board, pools=own), resident.tables)
        for name, text in cascade_files(line_comment(target), turns, together.flash).items():
            path = folder / name
            path.write_bytes(text.encode())
            if name.endswith(".sh"):
                path.chmod(0o755)
    return made


def _read(folder: Path) -> _Package:
    try:
        command = json.loads((folder / "stedgeai.json").read_text())["command"]
        network = network_of(command)
        stem = f"n6_{c_identifier(network)}"
        header = (folder / f"{stem}.h").read_text()
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise SourceError("this folder holds no package of this version", place=folder, found=error) from error
    if not (folder / f"{stem}_run.h").exists():
        raise SourceError("this package cannot run beside others", place=folder, remedy="convert the model again")
    sizes = re.findall(rf"^#define {stem.upper()}_OUTPUT_\d+_SIZE \((\d+)\)$", header, re.MULTILINE)
    return _Package(folder, network, stem, command, [int(size) for size in sizes])


def _refuse_equal_names(packages: Sequence[_Package]) -> None:
    for index, package in enumerate(packages):
        if package.stem in {other.stem for other in packages[:index]}:
            raise UsageError(
                "two packages have the same network name, and with it the same C symbols", place=package.folder,
                found=package.network, remedy="convert one of them again with --name",
            )  # fmt: skip


def _turn(
    package: _Package, index: int, together: Together, pools: Sequence[MemoryPool], earlier: Sequence[Turn]
) -> Turn:
    """What the cascade's source needs of one package; where its results wait, if they do."""
    headers = [f"{package.stem}_{kind}.h" for kind in ("run", "flash", "decode", "pose", "embedding")]
    present = [name for name in headers if (package.folder / name).exists()]
    kept = next((kept for kept in together.kept if kept.turn == index), None)
    if kept is None or kept.pool is None:
        return Turn(package.network, package.stem, present, package.sizes)
    pool = next(pool for pool in pools if pool.name == kept.pool)
    offset = sum(turn.waiting_size for turn in earlier if turn.waiting_pool == pool.name)
    size = sum(-(-size // _LINE) * _LINE for size in package.sizes)
    start = pool.start + offset if _cut_at_start(pool, pools) else pool.end - offset - size
    return Turn(package.network, package.stem, present, package.sizes, start, pool.name, size)


def _cut_at_start(pool: MemoryPool, pools: Sequence[MemoryPool]) -> bool:
    """Whether results wait at a pool's start: where another pool adjoins its end, buffers may straddle both."""
    return any(other.start == pool.end for other in pools) and not any(other.end == pool.start for other in pools)


def _pools_of(
    pools: Sequence[MemoryPool], region: FlashRegion, resident: Resident, earlier: Sequence[Turn]
) -> tuple[MemoryPool, ...]:
    """The board's pools as one package's compiler may use them."""
    flash = flash_pool(pools)
    found = []
    for pool in pools:
        taken = sum(turn.waiting_size for turn in earlier if turn.waiting_pool == pool.name)
        start = pool.start + taken if taken and _cut_at_start(pool, pools) else pool.start
        cut = replace(pool, start=start, size=pool.size - taken)
        if resident.arena.get(pool.name, 0) > cut.size:
            raise UsageError(
                "results that wait leave too little for a later model", place=f"{resident.name}, {pool.name}",
                limit=f"{cut.size:,} bytes", found=f"{resident.arena[pool.name]:,} bytes", remedy="another order",
            )  # fmt: skip
        found.append(replace(pool, start=region.start, size=region.size) if pool is flash else cut)
    return tuple(found)


def _copy(package: _Package, folder: Path, target: Target, tables: Mapping[str, int]) -> None:
    folder.mkdir(exist_ok=True)
    for path in sorted(package.folder.iterdir()):
        replaced = path.suffix == ".mpool" or path.name.startswith("user_neuralart") or path.name in _LEFT_BEHIND
        if path.is_file() and not replaced:
            shutil.copy2(path, folder / path.name)
    for name, (_, text) in board_files(package.stem, package.command, [target], tables).items():
        (folder / name).write_bytes(text.encode())
