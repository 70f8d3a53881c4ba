"""Checkpoints of torch before 1.6 (the published TinyBERT among them), read by torch itself in a child process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError, ToolError
from n6convert.plugin.checkpoints import load_safetensors
from n6convert.plugin.child import run_module, scratch_folder

__all__ = ["resaved"]

_CHILD = "n6convert_tinybert.legacy_child"


def resaved(path: Path) -> dict[str, NDArray[np.float32]]:
    """The file's tensors by name.

    Raises:
        SourceError: the file is damaged or holds more than tensors.
        ToolError: torch is not installed, or needs more than a quarter of an hour.
    """
    with scratch_folder() as folder:
        target = folder / "model.safetensors"
        child = run_module(_CHILD, [str(path), str(target)], place=path)
        if child.code == 0:
            return load_safetensors(target)
    last = child.last
    if "No module named" in last:
        raise ToolError("weights of this age are read by torch", place=path, found=last, remedy="pip install torch")
    raise SourceError("the weights file is damaged or holds more than tensors", place=path, found=last)
