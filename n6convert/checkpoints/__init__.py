"""Reading weight files without the framework that wrote them.

``load_torch`` gives a ``torch.save`` file as plain containers, numpy arrays and inert records; ``load_tensors`` gives
any supported file as arrays by name. Nothing found in a file is ever imported or called.
"""

from __future__ import annotations

from n6convert.checkpoints.records import Record, flatten, walk_modules
from n6convert.checkpoints.safetensors_file import load_safetensors
from n6convert.checkpoints.sniff import what_is
from n6convert.checkpoints.torch_file import load_torch

__all__ = ["Record", "flatten", "load_safetensors", "load_tensors", "load_torch", "walk_modules", "what_is"]

from pathlib import Path
from typing import Any

from numpy.typing import NDArray


def load_tensors(path: Path | str) -> dict[str, NDArray[Any]]:
    """All arrays of a ``.safetensors`` file or a torch checkpoint by dotted name, whatever its suffix says.

    Raises:
        SourceError: the file is missing, damaged, of another kind, or wants to run code.
    """
    if what_is(path) == "safetensors":
        return load_safetensors(path)
    return flatten(load_torch(path))
