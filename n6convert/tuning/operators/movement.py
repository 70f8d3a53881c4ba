"""Operators that move, join, cut or repeat values: on a grid they move the integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from n6convert.tuning.fake_quantization import Steps, Value, values_of
from n6convert.tuning.operators.node import Node, Operator, whole_numbers
from n6convert.tuning.tensor import Tensor

__all__ = ["MOVEMENT"]


def _moved(value: Value, function: Callable[[Tensor], Any]) -> Any:
    if not isinstance(value, Steps) or value.scale.numel() > 1:
        return function(values_of(value))
    made = function(value.integers)
    return tuple(Steps(m, value.scale) for m in made) if isinstance(made, (tuple, list)) else Steps(made, value.scale)


def _reshape(node: Node, operands: Sequence[Any]) -> Value:
    return _moved(operands[0], lambda x: x.reshape(_reshaped(node, operands, x)))


def _reshaped(node: Node, operands: Sequence[Any], x: Tensor) -> list[int]:
    """The sizes behind a Reshape, Flatten, Squeeze or Unsqueeze."""
    if node.shape is not None:
        first = x.numel() // int(np.prod(node.shape[1:])) if node.shape and node.shape[0] == 1 else None
        return list(node.shape) if first is None else [first, *node.shape[1:]]  # as many samples as come
    if node.op == "Reshape":
        sizes = whole_numbers(operands[1]).tolist()
        return [x.shape[i] if n == 0 and not node.get("allowzero", 0) else n for i, n in enumerate(sizes)]
    if node.op == "Flatten":
        axis = node.get("axis", 1) % (x.dim() + 1)
        return [int(np.prod(x.shape[:axis])), -1]
    axes = node.get("axes") if len(operands) < 2 else whole_numbers(operands[1]).tolist()
    if node.op == "Squeeze":
        gone = {a % x.dim() for a in axes} if axes else {i for i, n in enumerate(x.shape) if n == 1}
        return [n for i, n in enumerate(x.shape) if i not in gone]
    rank, rest = x.dim() + len(axes), iter(x.shape)
    new = {a % rank for a in axes}
    return [1 if i in new else next(rest) for i in range(rank)]


def _transpose(node: Node, operands: Sequence[Any]) -> Value:
    return _moved(operands[0], lambda x: x.permute(node.get("perm") or list(reversed(range(x.dim())))))


def _concat(node: Node, operands: Sequence[Any]) -> Value:
    axis = node.get("axis")
    first = operands[0]
    if all(isinstance(o, Steps) and o.scale is first.scale for o in operands):
        return Steps(torch.cat([o.integers for o in operands], axis), first.scale)
    return torch.cat([values_of(o) for o in operands], axis)


def _slice(node: Node, operands: Sequence[Any]) -> Value:
    starts, ends = (whole_numbers(o).tolist() for o in operands[1:3])
    axes, steps = ([*map(_numbers, operands[3:]), None, None])[:2]

    def cut(x: Tensor) -> Tensor:
        places = axes if axes is not None else list(range(len(starts)))
        for start, end, axis, step in zip(starts, ends, places, steps or [1] * len(starts), strict=True):
            size = x.shape[axis]
            picked = range(size)[slice(start, None if step < 0 and end < -size else end, step)]
            if step > 0:
                index = [slice(None)] * x.dim()
                index[axis] = slice(picked.start, picked.stop, step)
                x = x[tuple(index)]
            else:
                x = x.index_select(axis, torch.tensor(list(picked), device=x.device))
        return x

    return _moved(operands[0], cut)


def _numbers(value: Any) -> list[int] | None:
    return None if value is None else whole_numbers(value).tolist()


def _split(node: Node, operands: Sequence[Any]) -> Any:
    def parts(x: Tensor) -> Any:
        axis = node.get("axis", 0)
        given = _numbers(operands[1]) if len(operands) > 1 else node.get("split")
        count = len(node.outputs)
        even = -(-x.shape[axis] // count)
        return torch.split(x, list(given) if given else even, axis)

    return _moved(operands[0], parts)


def _pad(node: Node, operands: Sequence[Any]) -> Value:
    sizes = whole_numbers(operands[1]).tolist()
    value = 0.0 if len(operands) < 3 or operands[2] is None else float(values_of(operands[2]))
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[node.get("mode", "constant")]
    x = operands[0] if value == 0.0 else values_of(operands[0])

    def pad(x: Tensor) -> Tensor:
        places = _numbers(operands[3]) if len(operands) > 3 and operands[3] is not None else range(x.dim())
        around = [0] * 2 * x.dim()
        for i, axis in enumerate(places or []):
            at = 2 * (x.dim() - 1 - axis % x.dim())
            around[at : at + 2] = sizes[i], sizes[i + len(sizes) // 2]
        if mode == "constant":
            return F.pad(x, around, value=value)
        while len(around) > 2 and not any(around[-2:]):
            around = around[:-2]
        return F.pad(x, around, mode=mode)

    return _moved(x, pad)


def _gather(node: Node, operands: Sequence[Any]) -> Value:
    indices = torch.as_tensor(operands[1]).long()
    axis = node.get("axis", 0)

    def pick(x: Tensor) -> Tensor:
        places = (indices.reshape(-1) % x.shape[axis]).to(x.device)
        whole = x.index_select(axis, places)
        return whole.reshape([*x.shape[: axis % x.dim()], *indices.shape, *x.shape[axis % x.dim() + 1 :]])

    return _moved(operands[0], pick)


def _depth_to_space(node: Node, operands: Sequence[Any]) -> Value:
    block = node.get("blocksize")

    def spread(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        inner = c // block**2
        if node.get("mode", "DCR") == "CRD":
            return F.pixel_shuffle(x, block)
        parts = x.reshape(n, block, block, inner, h, w).permute(0, 3, 4, 1, 5, 2)
        return parts.reshape(n, inner, h * block, w * block)

    return _moved(operands[0], spread)


def _space_to_depth(node: Node, operands: Sequence[Any]) -> Value:
    block = node.get("blocksize")

    def gathered(x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        parts = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
        return parts.reshape(n, c * block**2, h // block, w // block)

    return _moved(operands[0], gathered)


def _expand(node: Node, operands: Sequence[Any]) -> Value:
    def spread(x: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(tuple(x.shape), tuple(whole_numbers(operands[1]).tolist()))
        return x.expand(shape)

    return _moved(operands[0], spread)


def _resize(node: Node, operands: Sequence[Any]) -> Value:
    """Nearest and linear interpolation by sizes that the output has."""
    assert node.shape is not None
    mode, sides = node.get("mode", "nearest"), list(node.shape[2:])
    if mode == "nearest":
        return _moved(operands[0], lambda x: _nearest(node, x, sides))
    names = {1: "linear", 2: "bilinear", 3: "trilinear"}
    corners = node.get("coordinate_transformation_mode", "half_pixel") == "align_corners"
    return F.interpolate(values_of(operands[0]), sides, mode=names[len(sides)], align_corners=corners)


def _nearest(node: Node, x: Tensor, sides: list[int]) -> Tensor:
    for axis, size in enumerate(sides, 2):
        if size != x.shape[axis]:
            x = x.index_select(axis, torch.from_numpy(_sources(node, x.shape[axis], size)).to(x.device))
    return x


def _sources(node: Node, old: int, new: int) -> Any:
    """Where each place of a nearest Resize comes from, by its attributes."""
    at = np.arange(new, dtype=np.float64)
    kind = node.get("coordinate_transformation_mode", "half_pixel")
    ratio = old / new
    if kind == "asymmetric":
        at = at * ratio
    elif kind == "align_corners":
        at = at * ((old - 1) / max(new - 1, 1))
    else:
        at = (at + 0.5) * ratio - 0.5
    rounding = node.get("nearest_mode", "round_prefer_floor")
    ways: dict[str, Any] = {"floor": np.floor, "ceil": np.ceil, "round_prefer_ceil": lambda v: np.floor(v + 0.5)}
    places = ways.get(rounding, lambda v: np.ceil(v - 0.5))(at)
    return np.clip(places, 0, old - 1).astype(np.int64)


def _tile(node: Node, operands: Sequence[Any]) -> Value:
    return _moved(operands[0], lambda x: x.repeat(whole_numbers(operands[1]).tolist()))


MOVEMENT: dict[str, Operator] = {
    "Concat": _concat,
    "DepthToSpace": _depth_to_space,
    "Expand": _expand,
    "Flatten": _reshape,
    "Gather": _gather,
    "Identity": lambda node, operands: operands[0],
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    "SpaceToDepth": _space_to_depth,
    "Split": _split,
    "Squeeze": _reshape,
    "Tile": _tile,
    "Transpose": _transpose,
    "Unsqueeze": _reshape,
}
