"""Versions of ST's compiler and the named features of each, read from ``compiler.yaml``.

Nothing else compares version numbers: code asks :func:`has` for a feature, so a new version is one row of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from n6convert.errors import SourceError

__all__ = [
    "Feature",
    "Version",
    "default_version",
    "feature",
    "features",
    "has",
    "holds",
    "spelled",
    "unknown_of",
    "version_of",
    "versions",
]

Version = tuple[int, int]
"""(major, minor) of the ST Edge AI core."""
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something that versions of the compiler do or do not do."""

    name: str
    sentence: str
    evidence: str
    switch: str | None = None
    """Compiler option without dashes that turns it on; None for what is always so."""


@cache
def data() -> Row:
    """``compiler.yaml``."""
    from n6convert.store.yaml_text import read_own

    found: Row = read_own("n6convert.operators", "compiler.yaml")
    return found


def versions() -> tuple[Version, ...]:
    """Every version there is, oldest first."""
    return tuple(sorted(_rows()))


def default_version() -> Version:
    """The newest version with evidence."""
    return version_of(str(data()["default"]))


def spelled(version: Version) -> str:
    """``4.0``."""
    return f"{version[0]}.{version[1]}"


def version_of(name: str) -> Version:
    """The version that ``4.0`` spells."""
    major, minor = name.split(".")
    return int(major), int(minor)


@cache
def features() -> Mapping[str, Feature]:
    """Every feature by name."""
    rows = data()["features"]
    return {name: Feature(name, row["is"], row["source"], row.get("switch")) for name, row in rows.items()}


def feature(name: str) -> Feature:
    """A feature by name.

    Raises:
        KeyError: no such feature: a mistake in the code that asks.
    """
    return features()[name]


@cache
def has(version: Version, name: str) -> bool:
    """Whether a version has a feature; a version without a row has what the one before it has.

    Raises:
        KeyError: no such feature: a mistake in the code that asks.
    """
    return feature(name).name in _having(version)


def holds(version: Version, *, needs: str | None, without: str | None, since: Version | None) -> bool:
    """Whether something that is so for some compilers is so for a version.

    Args:
        version: of the compiler.
        needs: feature that the version must have.
        without: feature that it must not have.
        since: version that it must be or extend.

    Raises:
        KeyError: no such feature: a mistake in the code that asks.
    """
    if since is not None and since not in _extended(version):
        return False
    return (needs is None or has(version, needs)) and not (without is not None and has(version, without))


def unknown_of(version: Version) -> str | None:
    """What nobody has measured or published about a version."""
    found = _rows()[version].get("unknown")
    return None if found is None else str(found)


@cache
def _having(version: Version) -> frozenset[str]:
    found: frozenset[str] = frozenset()
    for row in (_rows()[step] for step in reversed(_extended(version))):
        found = (found - set(row.get("drops", ()))) | set(row.get("adds", ()))
    return found


def _extended(version: Version) -> tuple[Version, ...]:
    """A version, or where it has no row the one before it, and all that it extends, newest first."""
    rows = _rows()
    known = [v for v in rows if v <= version]
    found: list[Version] = []
    step: Version | None = max(known) if known else min(rows)
    while step is not None:
        if step not in rows or step in found:
            raise SourceError("the table of compiler versions is damaged", place="compiler.yaml", found=spelled(step))
        found.append(step)
        parent = rows[step].get("extends")
        step = version_of(parent) if parent else None
    return tuple(found)


@cache
def _rows() -> Mapping[Version, Row]:
    return {version_of(name): row for name, row in data()["versions"].items()}
