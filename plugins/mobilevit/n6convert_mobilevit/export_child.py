"""Child process: a folder with config.json and model.safetensors in, an ONNX file out. Runs no code of the folder's.

``draw`` makes the weights of such a folder from a seed, in the sizes batch normalization leaves in a trained network.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

__all__: list[str] = []

_BRANCH_ENDS = ("reduce_1x1.normalization.weight", "attention.output.dense.weight", "output.dense.weight")


def _export(folder: str, output: str) -> None:
    from optimum.exporters.onnx import main_export

    main_export(
        folder,
        output=output,
        task="image-classification",
        opset=17,
        local_files_only=True,
        trust_remote_code=False,
        no_dynamic_axes=True,
        do_validation=False,
        batch_size=1,
    )


def _draw(folder: str, seed: str) -> None:
    import torch
    from safetensors.torch import save_file
    from transformers import MobileViTConfig, MobileViTForImageClassification

    model = MobileViTForImageClassification(MobileViTConfig.from_pretrained(folder))
    generator = np.random.Generator(np.random.PCG64(int(seed)))
    state = model.state_dict()
    drawn = {name: torch.from_numpy(_numbers(generator, name, state[name])) for name in sorted(state)}
    save_file(drawn, Path(folder) / "model.safetensors", metadata={"format": "pt"})


def _numbers(generator: np.random.Generator, name: str, tensor: Any) -> np.ndarray[Any, Any]:
    shape = tuple(tensor.shape)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    normal = generator.standard_normal(shape)
    if name.endswith(("running_var",)) or (len(shape) == 1 and name.endswith("weight")):
        values = 1 + 0.1 * normal
    elif len(shape) == 1:
        values = 0.1 * normal
    else:
        gain = 2 if len(shape) == 4 else 1
        values = normal * np.sqrt(gain / np.prod(shape[1:]))
    return (0.5 * values if name.endswith(_BRANCH_ENDS) else values).astype(np.float32)


if __name__ == "__main__":
    if sys.argv[1] == "export":
        _export(*sys.argv[2:])
    else:
        _draw(*sys.argv[2:])
