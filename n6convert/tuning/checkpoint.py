"""Checkpoints of training: one ``.npz`` without pickles, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from n6convert.store.cache import write_atomically

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = "n6convert tune 1"


@dataclass
class Checkpoint:
    """Attributes:
    key: of everything that decides the run; another run's checkpoint is not taken up.
    facts: JSON-ready: where training stands.
    arrays: numbers by name.
    """

    key: str
    facts: dict[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Raises OutputError: the file cannot be written."""
    head = json.dumps({"format": _FORMAT, "key": checkpoint.key, "facts": checkpoint.facts})
    stream = BytesIO()
    arrays: dict[str, Any] = {f"/{name}": array for name, array in checkpoint.arrays.items()}
    arrays[""] = np.frombuffer(head.encode(), np.uint8)
    np.savez(stream, **arrays)
    write_atomically(path, stream.getvalue())


def load_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """The checkpoint in a file; None when there is none, it is damaged, or it is another run's."""
    try:
        with np.load(path, allow_pickle=False) as held:
            head = json.loads(held[""].tobytes())
            if head.get("format") != _FORMAT or head.get("key") != key:
                return None
            arrays = {name[1:]: held[name] for name in held.files if name}
    except (OSError, ValueError, KeyError, EOFError, BadZipFile, AttributeError):
        return None
    return Checkpoint(key, head["facts"], arrays)
