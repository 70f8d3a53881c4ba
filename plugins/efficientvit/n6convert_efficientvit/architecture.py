"""Sizes of the EfficientViT networks, and reading them off a checkpoint (parameter names as in timm)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from n6convert.errors import SourceError

__all__ = ["ARCHITECTURES", "Architecture", "parameter_shapes", "read_architecture"]


@dataclass(frozen=True)
class Architecture:
    """Sizes of one network.

    Attributes:
        widths: channels after the stem and after each of the four stages.
        depths: blocks in the stem and in each stage (stages 3 and 4: attention blocks behind a downsampling one).
        head_dim: channels of one attention head.
        head_widths: channels of the classifier's two hidden layers.
        classes: how many classes.
        expand: how much wider the middle of an inverted bottleneck is.
        scale: kernel of the depthwise convolution that makes the second scale of attention.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]
    head_dim: int
    head_widths: tuple[int, int]
    classes: int = 1000
    expand: int = 4
    scale: int = 5


ARCHITECTURES = {
    "efficientvit": Architecture((8, 16, 32, 64, 128), (1, 2, 2, 2, 2), 16, (1024, 1280)),
    "efficientvit-b1": Architecture((16, 32, 64, 128, 256), (1, 2, 3, 3, 4), 16, (1536, 1600)),
}
_ATTENTION_FROM = 2


def read_architecture(tensors: Mapping[str, NDArray[Any]]) -> Architecture:
    """Sizes from the names and shapes of a checkpoint.

    Raises:
        SourceError: these are not the parameters of an EfficientViT classifier.
    """
    try:
        head = tensors["head.in_conv.conv.weight"].shape[0], tensors["head.classifier.0.weight"].shape[0]
        stages = 1 + max(int(n) for n in _matches(tensors, r"stages\.(\d+)\."))
        widths = [tensors["stem.in_conv.conv.weight"].shape[0]]
        depths = [1 + max(int(n) for n in _matches(tensors, r"stem\.res(\d+)\."))]
        for stage in range(stages):
            prefix = f"stages.{stage}.blocks"
            widths.append(tensors[f"{prefix}.0.main.point_conv.conv.weight"].shape[0])
            blocks = 1 + max(int(n) for n in _matches(tensors, rf"stages\.{stage}\.blocks\.(\d+)\."))
            depths.append(blocks - (stage >= _ATTENTION_FROM))
        attention = f"stages.{_ATTENTION_FROM}.blocks.1.context_module.main.aggreg.0"
        shallow = tensors["stages.0.blocks.0.main.inverted_conv.conv.weight"].shape
        classes = tensors["head.classifier.4.weight"].shape[0]
        dim, scale = tensors[f"{attention}.1.weight"].shape[1], tensors[f"{attention}.0.weight"].shape[2]
        found = Architecture(tuple(widths), tuple(depths), dim, head, classes, shallow[0] // shallow[1], scale)
    except (KeyError, ValueError, IndexError) as error:
        raise _foreign(tensors, f"no {error}") from error
    for name, shape in parameter_shapes(found).items():
        if name not in tensors:
            raise _foreign(tensors, f"no {name}")
        if tuple(tensors[name].shape) != shape:
            raise _foreign(tensors, f"{name} of shape {tuple(tensors[name].shape)} instead of {shape}")
    return found


def parameter_shapes(arch: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter, as timm writes them."""
    shapes = _conv("stem.in_conv", arch.widths[0], 3, 3)
    for i in range(arch.depths[0]):
        shapes |= _separable(f"stem.res{i}.main", arch.widths[0])
    for stage, (before, width, depth) in enumerate(zip(arch.widths, arch.widths[1:], arch.depths[1:], strict=False)):
        prefix, attention = f"stages.{stage}.blocks", stage >= _ATTENTION_FROM
        shapes |= _bottleneck(f"{prefix}.0.main", before, width, arch.expand, attention)
        for i in range(1, depth + attention):
            if attention:
                shapes |= _attention(f"{prefix}.{i}.context_module.main", width, arch)
                shapes |= _bottleneck(f"{prefix}.{i}.local_module.main", width, width, arch.expand, True)
            else:
                shapes |= _bottleneck(f"{prefix}.{i}.main", width, width, arch.expand, False)
    return shapes | _head(arch)


def _conv(name: str, out: int, into: int, kernel: int, *, norm: bool = True) -> dict[str, tuple[int, ...]]:
    """A convolution followed by BatchNorm, or with a bias of its own."""
    weight: dict[str, tuple[int, ...]] = {f"{name}.conv.weight": (out, into, kernel, kernel)}
    if not norm:
        return weight | {f"{name}.conv.bias": (out,)}
    return weight | {f"{name}.norm.{part}": (out,) for part in ("weight", "bias", "running_mean", "running_var")}


def _separable(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return _conv(f"{name}.depth_conv", width, 1, 3) | _conv(f"{name}.point_conv", width, width, 1)


def _bottleneck(name: str, before: int, width: int, expand: int, biased: bool) -> dict[str, tuple[int, ...]]:
    middle = before * expand
    shapes = _conv(f"{name}.inverted_conv", middle, before, 1, norm=not biased)
    shapes |= _conv(f"{name}.depth_conv", middle, 1, 3, norm=not biased)
    return shapes | _conv(f"{name}.point_conv", width, middle, 1)


def _attention(name: str, width: int, arch: Architecture) -> dict[str, tuple[int, ...]]:
    return {
        f"{name}.qkv.conv.weight": (3 * width, width, 1, 1),
        f"{name}.aggreg.0.0.weight": (3 * width, 1, arch.scale, arch.scale),
        f"{name}.aggreg.0.1.weight": (3 * width, arch.head_dim, 1, 1),
    } | _conv(f"{name}.proj", width, 2 * width, 1)


def _head(arch: Architecture) -> dict[str, tuple[int, ...]]:
    first, second = arch.head_widths
    return _conv("head.in_conv", first, arch.widths[-1], 1) | {
        "head.classifier.0.weight": (second, first),
        "head.classifier.1.weight": (second,),
        "head.classifier.1.bias": (second,),
        "head.classifier.4.weight": (arch.classes, second),
        "head.classifier.4.bias": (arch.classes,),
    }


def _matches(tensors: Mapping[str, Any], pattern: str) -> list[str]:
    return [found.group(1) for name in tensors if (found := re.match(pattern, name))]


def _foreign(tensors: Mapping[str, Any], found: str) -> SourceError:
    return SourceError(
        "the weights are not those of an EfficientViT classifier",
        found=f"{found}; it starts with {', '.join(list(tensors)[:3]) or 'nothing'}",
        limit="parameter names as timm's efficientvit_b0 to b3 have them",
        remedy="export the classifier's state_dict from timm as .safetensors",
    )
