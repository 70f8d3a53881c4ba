"""Checkpoints of torch before 1.6 (the published TinyBERT among them), read by torch itself in a child process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError, ToolError
from n6convert.plugin.checkpoints import load_safetensors

__all__ = ["resaved"]

#: weights_only: torch refuses pickles that hold anything but tensors and plain containers
_PROGRAM = """
import sys, torch
from safetensors.torch import save_file
found = torch.load(sys.argv[1], map_location="cpu", weights_only=True)
save_file({k: v.clone().contiguous() for k, v in found.items() if isinstance(v, torch.Tensor)}, sys.argv[2])
"""


def resaved(path: Path) -> dict[str, NDArray[np.float32]]:
    """The file's tensors by name.

    Raises:
        SourceError: the file is damaged or holds more than tensors.
        ToolError: torch is not installed.
    """
    with TemporaryDirectory() as folder:
        target = Path(folder) / "model.safetensors"
        command = [sys.executable, "-c", _PROGRAM, str(path), str(target)]
        child = subprocess.run(command, capture_output=True, text=True, check=False)
        if child.returncode == 0:
            return load_safetensors(target)
    last = (child.stderr.strip().splitlines() or ["no message"])[-1][:300]
    if "No module named" in last:
        raise ToolError("weights of this age are read by torch", place=path, found=last, remedy="pip install torch")
    raise SourceError("the weights file is damaged or holds more than tensors", place=path, found=last)
