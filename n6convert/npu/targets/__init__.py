"""Boards with their compiler version: units, pools, clocks, costs, read from the data files in this folder.

``load_target("stm32n6570-dk@4.0")`` is the only door; every constant's source can be read with :meth:`Target.source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from n6convert.errors import RecipeError
from n6convert.naming import nearest
from n6convert.npu.ir import Units
from n6convert.npu.st.mpool import MemoryPool, read_mpool
from n6convert.npu.targets.data import BOARD_SUFFIXES, board_names, known_board, read_board, shared
from n6convert.npu.targets.target import Clocks, Kernel, Target
from n6convert.operators.versions import default_version, has, spelled, unknown_of, versions
from n6convert.operators.versions import features as known_features

__all__ = ["DEFAULT_TARGET", "Clocks", "Kernel", "Target", "load_target", "shared", "targets"]

DEFAULT_TARGET = "stm32n6570-dk@4.0"

_COSTS = ("hardware_epoch", "external_ram", "large_kernels", "overheads", "software")
_VERSION = r"(?P<version>\d+\.\d+)(?:\.\d+(?:-\w+)?)?"
_BARE = re.compile(r"^\s*\d")
_BOARD = r"(?P<board>[^@+]+\.ya?ml|[A-Za-z0-9-]+)"
_SPEC = re.compile(rf"^\s*{_BOARD}(?:@{_VERSION})?(?P<switches>(?:\+[a-z0-9-]+)*)\s*$")


def targets() -> list[str]:
    """Every ``board@version`` there is by name."""
    return [f"{board}@{version}" for board in board_names() for version in _cores(board)]


def load_target(spec: str = DEFAULT_TARGET, *, pools: str | Path | None = None) -> Target:
    """Build a target from ``board``, ``board@major.minor`` or ``board@major.minor.patch``, then ``+switch``.

    A version alone means the kit.

    Args:
        spec: board and compiler version; without a version the newest that there is evidence for. The board is a
            name or the path of a YAML file. ``+expand-softmax`` compiles with that option.
        pools: a ``*.mpool`` file that replaces the stock pools.

    Raises:
        RecipeError: unknown board or version, with the nearest names; a switch that the version does not have; a board
            file with wrong entries.
        SourceError: the pool or board file is missing or damaged.
    """
    match = _SPEC.match(f"{DEFAULT_TARGET.partition('@')[0]}@{spec.strip()}" if _BARE.match(spec) else spec)
    if match is None:
        raise _unknown(spec)
    board = match["board"] if match["board"].endswith(BOARD_SUFFIXES) else match["board"].lower()
    if not board.endswith(BOARD_SUFFIXES) and not known_board(board):
        raise _unknown(spec)
    cores = _cores(board)
    default = spelled(default_version())
    version = match["version"] or (default if default in cores else cores[-1])
    if version not in cores:
        raise _unknown(spec, board, cores)
    switches = tuple(dict.fromkeys(match["switches"].split("+")[1:]))
    target = _build(board, version, _known_switches(switches, board, version))
    return target.with_pools(pools) if pools else target


def _unknown(spec: str, board: str | None = None, cores: tuple[str, ...] = ()) -> RecipeError:
    near = nearest(spec, targets(), likeness=0.4)
    boards, known = [board] if board else board_names(), cores or tuple(map(spelled, versions()))
    return RecipeError(
        "unknown target",
        found=spec,
        limit=f"a board ({', '.join(boards)}, or a YAML file) @ a version ({', '.join(known)})",
        remedy=f"did you mean {' or '.join(near)}?" if near else f"for example {DEFAULT_TARGET}",
    )


def _cores(board: str) -> tuple[str, ...]:
    """The cores that a board can be compiled with; every known one unless its file says otherwise."""
    known = tuple(map(spelled, versions()))
    asked = read_board(board).get("cores")
    if asked is None:
        return known
    if not isinstance(asked, list) or not asked or any(str(core) not in known for core in asked):
        raise RecipeError(
            "`cores` of a board is wrong", place=board, found=asked, limit=f"a list of {', '.join(known)}"
        )
    return tuple(str(core) for core in asked)


def _known_switches(asked: tuple[str, ...], board: str, version: str) -> tuple[str, ...]:
    for switch in asked:
        features = [feature.name for feature in known_features().values() if feature.switch == switch]
        having = [spelled(v) for v in versions() if any(has(v, name) for name in features)]
        if version not in having:
            possible = [name for name in having if name in _cores(board)]
            raise RecipeError(
                f"core {version} has no compiler switch --{switch}", place=f"{board}@{version}", found=f"+{switch}",
                limit=f"core {' or '.join(having)}" if having else "expand-softmax",
                remedy=f"leave +{switch} away" + (f", or take {board}@{possible[0]}" if possible else ""),
            )  # fmt: skip
    return asked


def _build(board: str, version: str, switches: tuple[str, ...]) -> Target:
    entry, common = read_board(board), _common(version)
    unpublished = unknown_of(_pair(version))
    unknown = [*entry.get("unknown", ()), *([unpublished] if unpublished else ())]
    try:
        return Target(
            board=board,
            series=str(entry.get("series", "stm32n6")),
            description=str(entry["description"]),
            clocks=_clocks(entry["clocks"]),
            pools=_pools(entry, board),
            flash_mb_s=_positive(entry["flash_mb_s"]),
            hyperram_mb_s=_positive(entry["hyperram_mb_s"]),
            start_cpu_cycles=_value(entry.get("start_cpu_cycles", 0)),
            unmeasured=_value(entry.get("unmeasured", 0)),
            data={**shared(), "board": entry},
            unknown=tuple(map(str, unknown)),
            switches=switches,
            **common,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RecipeError(
            "a board file has a wrong entry", place=board, found=f"{type(error).__name__}: {error}",
            remedy="compare it with the boards that come with n6convert",
        ) from error  # fmt: skip


def _pair(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)


@lru_cache(maxsize=16)
def _common(version: str) -> dict[str, Any]:
    """What every board has in common for a compiler version."""
    data = shared()
    limits = data["units"]
    return {
        "version": _pair(version),
        "units": Units(limits["conv"], limits["arith"], limits["activ"], limits["pool"]),
        "streams": limits["streams"],
        "chains": limits["chains"],
        "kernels": {name: _kernel(kernel) for name, kernel in data["software"]["kernels"].items()},
        "constants": {k: v for part in _COSTS for k, v in _scalars(data[part], f"{part}.")},
    }


def _clocks(entry: Any) -> Clocks:
    """A named set of clocks, or a table of MHz; RAM and bus that are left out keep the kit's ratio to the NPU."""
    table = shared()["clocks"][entry] if isinstance(entry, str) else entry
    cpu, npu = int(table["cpu"]), int(table["npu"])
    return Clocks(cpu, npu, int(table.get("npu_ram", round(0.9 * npu))), int(table.get("axi", round(0.4 * npu))))


def _value(entry: Any) -> float:
    return float(entry["value"] if isinstance(entry, Mapping) else entry)


def _positive(entry: Any) -> float:
    value = _value(entry)
    if not value > 0:
        raise ValueError(f"{value:g} is not positive")
    return value


def _pools(entry: Mapping[str, Any], board: str) -> tuple[MemoryPool, ...]:
    """The stock pools, a list of the board's own, or a ``*.mpool`` beside its file."""
    own, without = entry.get("pools"), set(entry.get("without_pools", ()))
    if isinstance(own, str):
        return read_mpool(Path(board).parent / own if board.endswith(BOARD_SUFFIXES) else own)
    defaults = {"writable": True, "constants": False}
    listed = own if own is not None else shared()["pools"]["list"]
    return tuple(MemoryPool(**defaults | pool) for pool in listed if pool["name"] not in without)


def _kernel(entry: Mapping[str, Any]) -> Kernel:
    unit = next(key for key in ("element", "byte", "mac") if key in entry)
    fixed = entry.get("fixed")
    return Kernel(
        unit, float(entry[unit]), entry["source"], None if fixed is None else float(fixed), float(entry.get("npu", 0))
    )


def _scalars(node: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in node.items():
        if isinstance(value, dict) and "value" in value and not isinstance(value["value"], dict):
            found.append((prefix + key, float(value["value"])))
        elif isinstance(value, dict):
            found += _scalars(value, f"{prefix}{key}.")
    return found
