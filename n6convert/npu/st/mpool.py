"""``*.mpool`` memory pool descriptions and ``user_neuralart.json`` profiles ([#memory-pools], [#files])."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError
from n6convert.npu.st.text import read_json

__all__ = ["MemoryPool", "NeuralArtProfile", "read_mpool", "read_profiles"]

_ADDRESS_SPACE = 1 << 32
"""Pools beyond it are the compiler's internal bookkeeping (``ec params pool`` has 2**63 bytes)."""

_MAGNITUDES = {"BYTES": 1, "KBYTES": 1024, "MBYTES": 1024**2, "GBYTES": 1024**3}


@dataclass(frozen=True, slots=True)
class MemoryPool:
    """One physical pool: addresses and sizes in bytes, ``byte_width`` and ``freq_ratio`` as in [#memory-pools]."""

    name: str
    start: int
    size: int
    byte_width: float
    freq_ratio: float
    writable: bool
    constants: bool
    """The compiler prefers it for weights."""
    power: float = 0.0
    """Read power in mW; the compiler prefers the cheaper of two equally fast pools."""

    @property
    def end(self) -> int:
        """Address behind the last byte."""
        return self.start + self.size

    @property
    def external(self) -> bool:
        """Outside of the chip: slower than one NPU cycle per byte."""
        return self.cycles_per_byte > 1

    @property
    def cycles_per_byte(self) -> float:
        """NPU cycles of one packed byte ([#memory-pools]: freqRatio / byteWidth)."""
        return self.freq_ratio / self.byte_width


@dataclass(frozen=True, slots=True)
class NeuralArtProfile:
    """A profile of user_neuralart.json."""

    name: str
    memory_pool: str | None
    options: tuple[str, ...]


def read_mpool(path: str | Path) -> tuple[MemoryPool, ...]:
    """Pools of an mpool file that lie in the address space, in its order.

    Raises:
        SourceError: not JSON, no pools, or a pool with a missing or impossible field.
    """
    data = read_json(path)
    memory = data.get("memory") if isinstance(data, dict) else None
    entries = memory.get("mempools") if isinstance(memory, dict) else None
    if not isinstance(entries, list) or not entries:
        raise SourceError("this is not a memory pool description", place=path, limit="memory.mempools[] (*.mpool)")
    pools = [_pool(entry, f"{path}, mempools[{index}]") for index, entry in enumerate(entries)]
    return tuple(pool for pool in pools if pool.end <= _ADDRESS_SPACE)


def _pool(entry: Any, place: str) -> MemoryPool:
    try:
        prop = entry["prop"]
        pool = MemoryPool(
            name=str(entry["name"]),
            start=_quantity(entry["offset"]),
            size=_quantity(entry["size"]),
            byte_width=float(prop["byteWidth"]),
            freq_ratio=float(prop["freqRatio"]),
            writable="WRITE" in prop["rights"],
            power=float(prop.get("readPower", prop.get("read_power", 0))),
            constants=str(prop.get("constantsPreferred", prop.get("constants_preferred", False))).lower() == "true",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise SourceError(
            "a memory pool lacks a field or has a wrong value",
            place=place,
            limit="name, offset, size {value, magnitude}, prop {rights, byteWidth, freqRatio}",
            found=f"{type(error).__name__}: {error}",
        ) from error
    speeds = (pool.byte_width, pool.freq_ratio)
    if pool.size < 0 or not all(math.isfinite(speed) and speed > 0 for speed in speeds):
        raise SourceError("a memory pool has an impossible size or speed", place=place, found=pool)
    return pool


def _quantity(field: Mapping[str, Any]) -> int:
    return int(str(field["value"]), 0) * _MAGNITUDES[field["magnitude"]]


def read_profiles(path: str | Path) -> dict[str, NeuralArtProfile]:
    """Profiles of a user_neuralart.json (``//`` comments allowed) by name.

    Raises:
        SourceError: not such a file.
    """
    data = read_json(path, comments=True)
    profiles = data.get("Profiles") if isinstance(data, dict) else None
    if not isinstance(profiles, dict):
        raise SourceError("this is not a Neural-ART profile file", place=path, limit='a key "Profiles"')
    return {name: _profile(name, entry, path) for name, entry in profiles.items()}


def _profile(name: str, entry: Any, path: str | Path) -> NeuralArtProfile:
    if not isinstance(entry, dict):
        raise SourceError("a profile is not a table", place=f"{path}, {name}", found=type(entry).__name__)
    pool = entry.get("memory_pool")
    words = str(entry.get("options", "")).replace(" -", "\n-").split("\n")
    return NeuralArtProfile(name, str(pool) if pool else None, tuple(word.strip() for word in words if word.strip()))
