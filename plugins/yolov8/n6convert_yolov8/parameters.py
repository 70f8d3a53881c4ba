"""Convolution weights by layer name, from a checkpoint, with BatchNorm folded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.plugin import SourceError
from n6convert.plugin.checkpoints import Record, flatten, load_safetensors, load_torch, walk_modules, what_is
from n6convert_yolov8.architecture import Architecture

__all__ = ["Conv", "Parameters", "load_parameters"]

Array = NDArray[np.float32]
_DEFAULT_EPS = 1e-3
_FIRST = re.compile(r"^((?:[A-Za-z_]\w*\.)*)0\.conv\.weight$")
#: parts of a head that only training needs: an auxiliary loss's branches
_TRAINING_ONLY = ("flow_model.", "cv4_sigma.", "proto.semseg.")
_END2END = "one2one_"


@dataclass(frozen=True)
class Conv:
    """A convolution: weight ``[out, in / groups, kh, kw]`` and bias ``[out]``, float32; a linear layer is 1x1."""

    weight: Array
    bias: Array


@dataclass(frozen=True)
class Parameters:
    """All convolutions of one network by layer name (``0``, ``2.m.0.cv1``, ``22.cv2.0.2``).

    Of an end-to-end head, which is trained with two sets of branches, only the set in use is here.

    Attributes:
        convs: folded convolutions.
        architecture: the network they belong to.
        classes: class names, where the weights tell.
    """

    convs: Mapping[str, Conv]
    architecture: Architecture
    classes: tuple[str, ...] | None = field(default=None)


def load_parameters(path: Path, *, end2end: bool = True) -> Parameters:
    """Read an Ultralytics checkpoint (module or state dict) or a ``.safetensors`` file with the same names.

    The averaged weights (``ema``) of a training checkpoint are preferred, as Ultralytics does itself.

    Args:
        path: the file.
        end2end: which branches of a head to take that has both: those that need no suppression, or the other ones.

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
        named, chosen = _choose_branches(_strip(tensors), end2end)
        architecture = replace(
            Architecture.from_tensors(named, _head_attribute(tree, "kpt_shape")), end2end=end2end and chosen
        )
        convs = _fold_all(named, _eps(tree))
    except SourceError as error:
        error.place = error.place or path
        raise
    return Parameters(convs, architecture, _class_names(tree, architecture.classes))


def _strip(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    prefixes = [m.group(1) for m in map(_FIRST.match, tensors) if m]
    if not prefixes:
        found = ", ".join(list(tensors)[:3]) or "no tensors"
        raise SourceError("the weights are not those of a YOLO network: no layer `0.conv.weight`", found=found)
    prefix = min(prefixes, key=len)
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _choose_branches(tensors: Mapping[str, NDArray[Any]], end2end: bool) -> tuple[dict[str, NDArray[Any]], bool]:
    """The tensors without those of the head that are not used, and whether it has end-to-end branches."""
    own = {n for n in tensors if n.split(".")[1:2] and n.split(".")[1].startswith(_END2END)}
    replaced = {n.replace(_END2END, "", 1) for n in own} if end2end else own
    kept = {n: t for n, t in tensors.items() if n not in own and n not in replaced}
    if end2end:
        kept |= {n.replace(_END2END, "", 1): tensors[n] for n in own}
    return {n: t for n, t in kept.items() if not n.partition(".")[2].startswith(_TRAINING_ONLY)}, bool(own)


def _fold_all(tensors: Mapping[str, NDArray[Any]], eps: float) -> dict[str, Conv]:
    convs = {}
    for name, value in tensors.items():
        linear = value.ndim == 2 and name.endswith(".linear.weight")
        if not linear and (value.ndim != 4 or not name.endswith(".weight") or ".dfl." in name):
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
    weight = weight.reshape(weight.shape + (1,) * (4 - weight.ndim))
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
