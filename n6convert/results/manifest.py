"""Keys of ``manifest.json``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

__all__ = ["ComputedWith", "Machine", "Manifest", "ManifestFile", "ManifestPlugin", "ManifestWeights"]

ManifestPlugin = TypedDict("ManifestPlugin", {"distribution": str, "version": str, "class": str, "api": str})
"""Whose model it is."""


class ManifestWeights(TypedDict):
    """Where the numbers came from; ``files`` are sha256 by name."""

    kind: str
    origin: str
    sha256: str | None
    trained: bool
    license: str | None
    trust: str
    files: dict[str, str]


class ManifestFile(TypedDict):
    """A published file."""

    path: str
    sha256: str


class Machine(TypedDict):
    """What a result should not depend on."""

    architecture: str
    cpu_features: list[str]
    threads: int


class ComputedWith(Machine):
    """By which code, as sha256 by package, and on what kind of machine."""

    code: dict[str, str]


class Manifest(TypedDict):
    """Everything that decided a result; equal for equal inputs but for ``computed_with``."""

    tool: str
    schema: str
    model: str
    name: str
    plugin: ManifestPlugin
    seed: int
    target: str
    weights: ManifestWeights
    recipe: dict[str, Any]
    samples: dict[str, Any]
    stages: Mapping[str, Mapping[str, str]]
    files: list[ManifestFile]
    python: str
    packages: dict[str, str]
    computed_with: ComputedWith
