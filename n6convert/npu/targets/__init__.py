"""Boards with their compiler version: units, pools, clocks, costs, read from the data files in this folder.

``load_target("stm32n6570-dk@4.0")`` is the only door; every constant's source can be read with :meth:`Target.source`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from n6convert.errors import RecipeError
from n6convert.npu.ir import Units
from n6convert.npu.st.mpool import MemoryPool, read_mpool

__all__ = ["DEFAULT_TARGET", "Clocks", "Kernel", "Target", "load_target", "targets"]

DEFAULT_TARGET = "stm32n6570-dk@4.0"

_COSTS = ("hardware_epoch", "overheads", "software")
_VERSION = r"(?P<version>\d+\.\d+)(?:\.\d+(?:-\w+)?)?"
_SPEC = re.compile(rf"^\s*(?P<board>[A-Za-z0-9-]+)(?:@{_VERSION})?(?P<switches>(?:\+[a-z0-9-]+)*)\s*$")


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks in MHz."""

    cpu: int
    npu: int
    npu_ram: int
    axi: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """CPU cycles of a software kernel per unit of its work: ``element``, ``byte`` or ``mac``.

    ``scattered`` kernels move single bytes with DMA, which external RAM punishes.
    """

    unit: str
    cycles: float
    source: str
    scattered: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """A board with a compiler version; all costs are physical, none belongs to a network."""

    board: str
    description: str
    version: tuple[int, int]
    clocks: Clocks
    pools: tuple[MemoryPool, ...]
    units: Units
    streams: int
    chains: int
    hybrid: bool
    """The compiler knows hybrid epochs by name (3.0 and later)."""
    depthwise_inflation: int
    flash_mb_s: float
    hyperram_mb_s: float
    start_cpu_cycles: float
    """CPU cycles before the first epoch, when the epoch controller is off."""
    spread: Mapping[str, tuple[float, float]]
    """Measured / predicted time by part (hardware, software, overhead, external): nine in ten networks lie within."""
    kernels: Mapping[str, Kernel]
    constants: Mapping[str, float]
    """Scalars by dotted name, such as ``hardware_epoch.start_cycles``."""
    data: Mapping[str, Any]
    epoch_controller: bool = True
    switches: tuple[str, ...] = ()
    """Compiler options beyond the stock profile, without dashes: ``expand-softmax``."""

    @property
    def books_beats(self) -> bool:
        """The compiler's own estimate knows byte-granular streams: from 3.0 on (SPEC f.2)."""
        return self.version >= (3, 0)

    @property
    def name(self) -> str:
        """``board@version`` as it is written in recipes, with ``+switch`` for what it is compiled with."""
        return "+".join([f"{self.board}@{self.version[0]}.{self.version[1]}", *self.switches])

    def source(self, name: str) -> str:
        """Where a constant comes from, by dotted name."""
        node: Any = self.data
        for part in name.split("."):
            node = node[part]
        return str(node["source"])

    def with_pools(self, path: str | Path) -> Target:
        """The same target with the pools of a user's ``*.mpool``."""
        return replace(self, pools=read_mpool(path))

    def with_epoch_controller(self, enabled: bool) -> Target:
        """The same target, compiled with or without the epoch controller."""
        return replace(self, epoch_controller=enabled)


@lru_cache(maxsize=1)
def _data() -> Mapping[str, Any]:
    import yaml

    text = resources.files(__package__).joinpath("stm32n6.yaml").read_text(encoding="utf-8")
    loaded: Mapping[str, Any] = yaml.safe_load(text)
    return loaded


def targets() -> list[str]:
    """Every ``board@version`` there is."""
    data = _data()
    return [f"{board}@{version}" for board in data["boards"] for version in data["versions"]["list"]]


def load_target(spec: str = DEFAULT_TARGET, *, pools: str | Path | None = None) -> Target:
    """Build a target from ``board``, ``board@major.minor`` or ``board@major.minor.patch``, then ``+switch``.

    Args:
        spec: board and compiler version; without a version the newest. ``+expand-softmax`` compiles with that option.
        pools: a ``*.mpool`` file that replaces the stock pools.

    Raises:
        RecipeError: unknown board or version, with the nearest names; a switch that the version does not have.
        SourceError: the pool file is missing or damaged.
    """
    match = _SPEC.match(spec)
    data = _data()
    versions = list(data["versions"]["list"])
    board = match["board"].lower() if match else ""
    version = (match["version"] or versions[-1]) if match else ""
    if board not in data["boards"] or version not in versions:
        near = difflib.get_close_matches(spec, targets(), n=3, cutoff=0.4)
        raise RecipeError(
            "unknown target",
            found=spec,
            limit=f"a board ({', '.join(data['boards'])}) @ a version ({', '.join(versions)})",
            remedy=f"did you mean {' or '.join(near)}?" if near else f"for example {DEFAULT_TARGET}",
        )
    switches = tuple(dict.fromkeys(match["switches"].split("+")[1:])) if match else ()
    target = replace(_build(board, version), switches=_known_switches(switches, board, version))
    return target.with_pools(pools) if pools else target


def _known_switches(asked: tuple[str, ...], board: str, version: str) -> tuple[str, ...]:
    versions = _data()["versions"]["list"]
    for switch in asked:
        having = [name for name, family in versions.items() if switch in family.get("switches", ())]
        if version not in having:
            raise RecipeError(
                f"core {version} has no compiler switch --{switch}", place=f"{board}@{version}", found=f"+{switch}",
                limit=f"core {' or '.join(having)}" if having else "expand-softmax",
                remedy=f"leave +{switch} away" + (f", or take {board}@{having[-1]}" if having else ""),
            )  # fmt: skip
    return asked


@lru_cache(maxsize=32)
def _build(board: str, version: str) -> Target:
    data = _data()
    entry = dict(data["boards"][board])
    entry |= entry.get("overrides", {}).get(version, {})
    family, limits = data["versions"]["list"][version], data["units"]
    major, minor = version.split(".")
    return Target(
        board=board,
        description=entry["description"],
        version=(int(major), int(minor)),
        clocks=Clocks(**{key: data["clocks"][entry["clocks"]][key] for key in ("cpu", "npu", "npu_ram", "axi")}),
        pools=_pools(data, set(entry.get("without_pools", ()))),
        units=Units(limits["conv"], limits["arith"], limits["activ"], limits["pool"]),
        streams=limits["streams"],
        chains=limits["chains"],
        hybrid=family["hybrid"],
        depthwise_inflation=family["depthwise_inflation"],
        flash_mb_s=entry["flash_mb_s"]["value"],
        hyperram_mb_s=entry["hyperram_mb_s"]["value"],
        start_cpu_cycles=entry["start_cpu_cycles"]["value"],
        spread={part: (low, high) for part, (low, high) in entry["spread"]["parts"].items()},
        kernels={name: _kernel(kernel) for name, kernel in data["software"]["kernels"].items()},
        constants={k: v for part in _COSTS for k, v in _scalars(data[part], f"{part}.")},
        data=data,
    )


def _pools(data: Mapping[str, Any], without: set[str]) -> tuple[MemoryPool, ...]:
    defaults = {"writable": True, "constants": False}
    return tuple(MemoryPool(**defaults | pool) for pool in data["pools"]["list"] if pool["name"] not in without)


def _kernel(entry: Mapping[str, Any]) -> Kernel:
    unit = next(key for key in ("element", "byte", "mac") if key in entry)
    return Kernel(unit, float(entry[unit]), entry["source"], bool(entry.get("scattered")))


def _scalars(node: Mapping[str, Any], prefix: str) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in node.items():
        if isinstance(value, dict) and "value" in value and not isinstance(value["value"], dict):
            found.append((prefix + key, float(value["value"])))
        elif isinstance(value, dict):
            found += _scalars(value, f"{prefix}{key}.")
    return found
