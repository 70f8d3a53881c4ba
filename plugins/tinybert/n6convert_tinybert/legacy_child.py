"""Run as a program: a checkpoint of torch before 1.6 as safetensors. ``python -m ... SOURCE TARGET``.

``weights_only``: torch refuses pickles that hold anything but tensors and plain containers.
"""

from __future__ import annotations

import sys


def _resave(source: str, target: str) -> None:
    import torch
    from safetensors.torch import save_file

    found = torch.load(source, map_location="cpu", weights_only=True)
    save_file({k: v.clone().contiguous() for k, v in found.items() if isinstance(v, torch.Tensor)}, target)


if __name__ == "__main__":
    _resave(*sys.argv[1:])
