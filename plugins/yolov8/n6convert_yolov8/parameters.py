"""Convolution weights by layer name: from a checkpoint, with BatchNorm folded, or seeded."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin import SourceError
from n6convert.plugin.checkpoints import Record, flatten, load_safetensors, load_torch, walk_modules, what_is
from n6convert_yolov8.architecture import C2F_LAYERS, SIZES, Architecture

__all__ = ["Conv", "Parameters", "empty_parameters", "load_parameters", "seeded_parameters"]

Array = NDArray[np.float32]
_DEFAULT_EPS = 1e-3
_FIRST = re.compile(r"^((?:[A-Za-z_]\w*\.)*)0\.conv\.weight$")
#: second moment of SiLU(x) for x ~ N(0, 1): what a convolution behind a SiLU sees as its input power
_SILU_POWER = 0.3556
#: share of a seeded layer's variance that comes from its input, the rest from its bias: below one, small
#: deviations from unit variance die out instead of growing from layer to layer
_SIGNAL_SHARE = 0.75


@dataclass(frozen=True)
class Conv:
    """A convolution: weight ``[out, in, kh, kw]`` and bias ``[out]``, float32."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Parameters:
    """All convolutions of one network by layer name (``0``, ``2.m.0.cv1``, ``22.cv2.0.2``).

    Attributes:
        convs: folded convolutions.
        architecture: the network they belong to.
        classes: class names, where the weights tell.
    """

    convs: Mapping[str, Conv]
    architecture: Architecture
    classes: tuple[str, ...] | None = field(default=None)


def load_parameters(path: Path) -> Parameters:
    """Read an Ultralytics checkpoint (module or state dict) or a ``.safetensors`` file with the same names.

    The averaged weights (``ema``) of a training checkpoint are preferred, as Ultralytics does itself.

    Raises:
        SourceError: damaged, another kind of file, another network, or values that are not finite.
    """
    if what_is(path) == "safetensors":
        tree, tensors = None, load_safetensors(path)
    else:
        content = load_torch(path)
        tree = next((m for m in (content.get("ema"), content.get("model")) if isinstance(m, Record)), None)
        tensors = flatten(tree if tree is not None else content)
    try:
        named = _strip(tensors)
        architecture = Architecture.from_tensors(named, _head_attribute(tree, "kpt_shape"))
        convs = _fold_all(named, _eps(tree))
    except SourceError as error:
        error.place = error.place or path
        raise
    return Parameters(convs, architecture, _class_names(tree, architecture.classes))


def seeded_parameters(size: str, seed: int, keypoints: tuple[int, int] | None) -> Parameters:
    """The exact network of a published size with untrained numbers.

    Weights are scaled so that activations keep about unit variance through SiLU; the last class layer has the bias that
    detectors are initialised with (few objects), so that scores are small. Numbers come from raw PCG64 integers
    through integer arithmetic alone and are equal on every platform and numpy version.
    """
    architecture = Architecture.of_size(size, keypoints=keypoints)
    shapes = _conv_shapes(size, architecture)
    convs = {n: _seeded_conv(n, shape, _input_power(n, architecture), seed) for n, shape in shapes.items()}
    return Parameters(convs, architecture)


def empty_parameters(size: str, keypoints: tuple[int, int] | None) -> Parameters:
    """A published network whose weights are all zero, for its structure alone."""
    architecture = Architecture.of_size(size, keypoints=keypoints)
    convs = {
        name: Conv(np.zeros((out, into, kernel, kernel), np.float32), np.zeros(out, np.float32))
        for name, (out, into, kernel) in _conv_shapes(size, architecture).items()
    }
    return Parameters(convs, architecture)


def _strip(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefixes = [m.group(1) for m in map(_FIRST.match, tensors) if m]
    if not prefixes:
        found = ", ".join(list(tensors)[:3]) or "no tensors"
        raise SourceError("the weights are not those of a YOLO network: no layer `0.conv.weight`", found=found)
    prefix = min(prefixes, key=len)
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _fold_all(tensors: Mapping[str, NDArray[Any]], eps: float) -> dict[str, Conv]:
    convs = {}
    for name, value in tensors.items():
        if value.ndim != 4 or not name.endswith(".weight") or ".dfl." in name:
            continue
        layer = name.removesuffix(".weight")
        outer = layer.removesuffix(".conv")
        conv = _fold(tensors, layer, f"{outer}.bn", eps)
        if not (np.isfinite(conv.weight).all() and np.isfinite(conv.bias).all()):
            raise SourceError("the weights contain NaN or infinite values", found=f"in layer {layer}")
        convs[outer] = conv
    return convs


def _fold(tensors: Mapping[str, NDArray[Any]], layer: str, norm: str, eps: float) -> Conv:
    weight = tensors[f"{layer}.weight"].astype(np.float64)
    bias = tensors[f"{layer}.bias"].astype(np.float64) if f"{layer}.bias" in tensors else np.zeros(len(weight))
    if f"{norm}.running_var" in tensors:
        gamma, beta, mean, variance = (
            tensors[f"{norm}.{part}"].astype(np.float64) for part in ("weight", "bias", "running_mean", "running_var")
        )
        scale = gamma / np.sqrt(variance + eps)
        weight, bias = weight * scale[:, None, None, None], (bias - mean) * scale + beta
    return Conv(weight.astype(np.float32), bias.astype(np.float32))


def _eps(tree: Record | None) -> float:
    found = [m.get("eps") for _, m in walk_modules(tree) if m.get("running_var", m.get("eps"))] if tree else []
    return float(next((e for e in found if isinstance(e, float)), _DEFAULT_EPS))


def _head_attribute(tree: Record | None, name: str) -> Any:
    modules = [m for _, m in walk_modules(tree)] if tree else []
    return next((m.get(name) for m in modules if m.get(name) is not None), None)


def _class_names(tree: Record | None, count: int) -> tuple[str, ...] | None:
    names = tree.get("names") if tree else None
    if isinstance(names, Mapping):
        names = [names.get(i) for i in range(count)]
    if not isinstance(names, (list, tuple)) or len(names) != count or not all(isinstance(n, str) for n in names):
        return None
    numbered = all(n == str(i) for i, n in enumerate(names))
    return None if numbered else tuple(names)


def _conv_shapes(size: str, architecture: Architecture) -> dict[str, tuple[int, int, int]]:
    """Output channels, input channels and kernel of every convolution of a published size."""
    _, width, limit = SIZES[size]
    c1, c2, c3, c4, c5 = (int(-(-min(c, limit) * width // 8) * 8) for c in (64, 128, 256, 512, 1024))
    shapes = {"0": (c1, 3, 3), "1": (c2, c1, 3), "3": (c3, c2, 3), "5": (c4, c3, 3), "7": (c5, c4, 3)}
    shapes |= {"16": (c3, c3, 3), "19": (c4, c4, 3), "9.cv1": (c5 // 2, c5, 1), "9.cv2": (c5, c5 * 2, 1)}
    ends = {2: (c2, c2), 4: (c3, c3), 6: (c4, c4), 8: (c5, c5), 12: (c5 + c4, c4), 15: (c4 + c3, c3)}
    ends |= {18: (c3 + c4, c4), 21: (c4 + c5, c5)}
    for layer in C2F_LAYERS:
        shapes |= _c2f_shapes(layer, *ends[layer], architecture.repeats[layer])
    for i, channels in enumerate((c3, c4, c5)):
        shapes |= _head_shapes(i, channels, c3, architecture)
    return shapes


def _c2f_shapes(layer: int, into: int, out: int, repeats: int) -> dict[str, tuple[int, int, int]]:
    half = out // 2
    shapes = {f"{layer}.cv1": (out, into, 1), f"{layer}.cv2": (out, (2 + repeats) * half, 1)}
    return shapes | {f"{layer}.m.{r}.{cv}": (half, half, 3) for r in range(repeats) for cv in ("cv1", "cv2")}


def _head_shapes(i: int, channels: int, first: int, architecture: Architecture) -> dict[str, tuple[int, int, int]]:
    outputs = {"cv2": 4 * architecture.reg_max, "cv3": architecture.classes}
    inner = {"cv2": max(16, first // 4, outputs["cv2"]), "cv3": max(first, min(architecture.classes, 100))}
    if architecture.keypoints:
        outputs["cv4"] = architecture.keypoints[0] * architecture.keypoints[1]
        inner["cv4"] = max(first // 4, outputs["cv4"])
    shapes: dict[str, tuple[int, int, int]] = {}
    for branch, out in outputs.items():
        c = inner[branch]
        chain = ((c, channels, 3), (c, c, 3), (out, c, 1))
        shapes |= {f"22.{branch}.{i}.{j}": shape for j, shape in enumerate(chain)}
    return shapes


def _input_power(name: str, architecture: Architecture) -> float:
    """Mean square of what a convolution reads: an image, or SiLU outputs, which shortcuts add up."""
    if name == "0":
        return 1 / 3
    layer, _, inner = name.partition(".")
    repeats = architecture.repeats.get(int(layer), 0)
    if int(layer) > 9 or not repeats or inner == "cv1":
        return _SILU_POWER
    if inner == "cv2":
        return _SILU_POWER * (2 + sum(range(2, repeats + 2))) / (2 + repeats)
    return _SILU_POWER * (1 + int(inner.split(".")[1]) if inner.endswith("cv1") else 1)


def _seeded_conv(name: str, shape: tuple[int, int, int], power: float, seed: int) -> Conv:
    out, into, kernel = shape
    weight = _normal(f"{name}.weight", seed, out * into * kernel**2) * np.float32(
        np.sqrt(_SIGNAL_SHARE / (into * kernel**2 * power))
    )
    bias = _normal(f"{name}.bias", seed, out) * np.float32(np.sqrt(1 - _SIGNAL_SHARE))
    if name.startswith("22.cv2.") and name.endswith(".2"):
        bias += np.float32(1)
    if name.startswith("22.cv3.") and name.endswith(".2"):
        stride = 8 << int(name.split(".")[2])
        bias += np.float32(np.log(5 / out / (640 / stride) ** 2))
    return Conv(weight.reshape(out, into, kernel, kernel).astype(np.float32), bias)


def _normal(name: str, seed: int, count: int) -> Array:
    """Nearly normal numbers: the sum of the four 16-bit lanes of each raw integer, centred and scaled."""
    raw = np.asarray(np.random.PCG64([seed, zlib.crc32(name.encode())]).random_raw(count))
    lanes = (raw[:, None] >> np.array([0, 16, 32, 48], np.uint64) & np.uint64(0xFFFF)).astype(np.int64)
    return np.asarray((lanes.sum(1) - 2 * 65535).astype(np.float64) / 37837.2, np.float32)
