"""The network's numbers: from a file or drawn from a seed, BatchNorm folded into the convolution before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.plugin.checkpoints import load_tensors
from n6convert_efficientvit.architecture import Architecture, parameter_shapes, read_architecture

__all__ = ["Parameters", "load_parameters", "seeded_parameters"]

Array = NDArray[np.float32]
_BATCH_EPSILON = 1e-5
_LAST_OF_BRANCH = ("point_conv.norm.weight", "proj.norm.weight")
_BEHIND_ACTIVATION = ("depth_conv.conv.weight", "point_conv.conv.weight", "classifier.4.weight")


class Parameters:
    """Parameters by timm's name.

    Args:
        arch: sizes.
        tensors: every parameter that :func:`parameter_shapes` names; others are not looked at.
    """

    def __init__(self, arch: Architecture, tensors: Mapping[str, NDArray[Any]]) -> None:
        self.arch = arch
        self._tensors = tensors

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self._tensors[name], np.float32)

    def conv(self, name: str) -> tuple[Array, Array | None]:
        """(weight ``[O, I, k, k]``, bias ``[O]`` or None) of a ConvNormAct, its BatchNorm folded in."""
        weight = self[f"{name}.conv.weight"]
        if f"{name}.norm.weight" not in self._tensors:
            return weight, self[f"{name}.conv.bias"] if f"{name}.conv.bias" in self._tensors else None
        gamma, beta = self[f"{name}.norm.weight"].astype(np.float64), self[f"{name}.norm.bias"]
        mean, variance = self[f"{name}.norm.running_mean"], self[f"{name}.norm.running_var"].astype(np.float64)
        factor = gamma / np.sqrt(variance + _BATCH_EPSILON)
        folded = weight * factor[:, None, None, None]
        return folded.astype(np.float32), (beta - mean * factor).astype(np.float32)


def load_parameters(path: Path) -> Parameters:
    """Read a ``.safetensors`` file or a torch checkpoint with timm's names.

    Raises:
        SourceError: damaged, of another kind, or of another architecture.
    """
    tensors = _unwrapped(load_tensors(path))
    try:
        arch = read_architecture(tensors)
    except SourceError as error:
        error.place = path
        raise
    for name in parameter_shapes(arch):
        if not np.isfinite(np.asarray(tensors[name], np.float32)).all():
            raise SourceError("the weights hold NaN or infinity", place=f"{path}, {name}")
    return Parameters(arch, tensors)


def seeded_parameters(arch: Architecture, seed: int) -> Parameters:
    """Untrained numbers of the right shapes: same seed, same numbers."""
    generator = np.random.Generator(np.random.PCG64(seed))
    tensors = {name: _drawn(generator, name, shape) for name, shape in parameter_shapes(arch).items()}
    return Parameters(arch, tensors)


def _drawn(generator: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    """Sizes as BatchNorm leaves them in a trained network: no layer and no residual sum grows much."""
    normal = generator.standard_normal(shape)
    if name.endswith(_LAST_OF_BRANCH):
        values = 0.5 + 0.05 * normal
    elif name.endswith(("running_var", "norm.weight", "classifier.1.weight")):
        values = 1 + 0.1 * normal
    elif len(shape) == 1:
        values = 0.1 * normal
    else:
        gain = 2 if name.endswith(_BEHIND_ACTIVATION) else 1
        values = normal * np.sqrt(gain / np.prod(shape[1:]))
    return values.astype(np.float32)


def _unwrapped(tensors: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Without the prefixes that training wrappers put in front of every name, and without one common container."""
    marker = "stem.in_conv.conv.weight"
    prefixes = [name[: -len(marker)] for name in tensors if name.endswith(marker)]
    if not prefixes or "" in prefixes:
        return tensors
    best = next((p for p in prefixes if "ema" in p), prefixes[0])
    return {name[len(best) :]: array for name, array in tensors.items() if name.startswith(best)}
