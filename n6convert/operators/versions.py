"""Versions of ST's compiler and the named features of each, read from ``compiler.yaml``.

Nothing else compares version numbers: code asks :func:`has` for a feature, so a new version is one row of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from n6convert.errors import SourceError

__all__ = ["Feature", "Version", "default_version", "feature", "features", "has", "spelled", "unknown_of", "versions"]

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
    return _read(str(data()["default"]))


def spelled(version: Version) -> str:
    """``4.0``."""
    return f"{version[0]}.{version[1]}"


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


def unknown_of(version: Version) -> str | None:
    """What nobody has measured or published about a version."""
    found = _rows()[version].get("unknown")
    return None if found is None else str(found)


@cache
def _having(version: Version) -> frozenset[str]:
    rows = _rows()
    known = [v for v in rows if v <= version]
    return _features(rows, max(known) if known else min(rows), ())


def _features(rows: Mapping[Version, Row], version: Version, below: tuple[Version, ...]) -> frozenset[str]:
    row = rows.get(version)
    if row is None or version in below:
        raise SourceError("the table of compiler versions is damaged", place="compiler.yaml", found=spelled(version))
    parent = row.get("extends")
    base = _features(rows, _read(parent), (*below, version)) if parent else frozenset()
    return (base - set(row.get("drops", ()))) | set(row.get("adds", ()))


@cache
def _rows() -> Mapping[Version, Row]:
    return {_read(name): row for name, row in data()["versions"].items()}


def _read(name: str) -> Version:
    major, minor = name.split(".")
    return int(major), int(minor)
