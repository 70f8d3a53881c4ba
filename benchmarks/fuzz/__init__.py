"""Generators of damaged input, one module a kind: ``write(rng, folder)`` gives the command lines to try on it.

A further kind is a module with such a function and a line in :data:`KINDS`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from . import caches, checkpoints, onnx_files, recipes, reports, samples

__all__ = ["KINDS", "Generator"]

#: writes one input into an empty folder, which is the working folder of the commands it returns
Generator = Callable[[Random, Path], list[list[str]]]

KINDS: dict[str, Generator] = {
    "onnx": onnx_files.write,
    "recipe": recipes.write,
    "cache": caches.write,
    "report": reports.write,
    "samples": samples.write,
    "checkpoint": checkpoints.write,
}
