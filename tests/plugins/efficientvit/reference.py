"""EfficientViT once more, straight from the paper's equations in functional torch; nothing shared with the plugin."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional as F

Tensors = Mapping[str, torch.Tensor]


def classify(arrays: Mapping[str, np.ndarray], image: np.ndarray, depths: tuple[int, ...], dim: int) -> np.ndarray:
    """Logits ``[1, classes]`` for an image ``[1, 3, h, w]`` in double precision."""
    p = {name: torch.from_numpy(np.asarray(array)).double() for name, array in arrays.items()}
    x = torch.from_numpy(image).double()
    x = F.hardswish(_conv_norm(p, "stem.in_conv", x, 2))
    for i in range(depths[0]):
        y = F.hardswish(_conv_norm(p, f"stem.res{i}.main.depth_conv", x))
        x = x + _conv_norm(p, f"stem.res{i}.main.point_conv", y)
    for stage, depth in enumerate(depths[1:]):
        x = _bottleneck(p, f"stages.{stage}.blocks.0.main", x, 2)
        for i in range(1, depth if stage < 2 else depth + 1):
            block = f"stages.{stage}.blocks.{i}"
            if stage < 2:
                x = x + _bottleneck(p, f"{block}.main", x)
            else:
                x = x + _linear_attention(p, f"{block}.context_module.main", x, dim)
                x = x + _bottleneck(p, f"{block}.local_module.main", x)
    x = F.hardswish(_conv_norm(p, "head.in_conv", x)).mean((2, 3))
    x = F.linear(x, p["head.classifier.0.weight"])
    x = F.layer_norm(x, x.shape[-1:], p["head.classifier.1.weight"], p["head.classifier.1.bias"], 1e-5)
    x = F.linear(F.hardswish(x), p["head.classifier.4.weight"], p["head.classifier.4.bias"])
    return x.numpy()


def _conv_norm(p: Tensors, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    weight = p[f"{name}.conv.weight"]
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(x, weight, p.get(f"{name}.conv.bias"), stride, weight.shape[-1] // 2, 1, groups)
    if f"{name}.norm.weight" not in p:
        return x
    norm = [p[f"{name}.norm.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
    return F.batch_norm(x, norm[0], norm[1], norm[2], norm[3], eps=1e-5)


def _bottleneck(p: Tensors, name: str, x: torch.Tensor, stride: int = 1) -> torch.Tensor:
    x = F.hardswish(_conv_norm(p, f"{name}.inverted_conv", x))
    x = F.hardswish(_conv_norm(p, f"{name}.depth_conv", x, stride))
    return _conv_norm(p, f"{name}.point_conv", x)


def _linear_attention(p: Tensors, name: str, x: torch.Tensor, dim: int) -> torch.Tensor:
    height, width = x.shape[2:]
    qkv = F.conv2d(x, p[f"{name}.qkv.conv.weight"])
    depth, point = p[f"{name}.aggreg.0.0.weight"], p[f"{name}.aggreg.0.1.weight"]
    around = F.conv2d(qkv, depth, padding=depth.shape[-1] // 2, groups=qkv.shape[1])
    around = F.conv2d(around, point, groups=qkv.shape[1] // dim)
    heads = []
    for source in (qkv, around):
        for head in source.split(3 * dim, 1):
            q, k, v = (part.flatten(2)[0] for part in head.split(dim, 1))
            q, k = q.relu(), k.relu()
            weights = torch.einsum("in,im->nm", q, k)
            heads.append(torch.einsum("nm,jm->jn", weights, v) / (weights.sum(1) + 1e-5))
    joined = torch.cat(heads).reshape(1, -1, height, width)
    return _conv_norm(p, f"{name}.proj", joined)
