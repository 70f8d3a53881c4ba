"""Finding the layers of a YOLOv8 network in somebody else's ONNX file.

Exporters name and order nodes as they like, so layers are recognised by structure: the graph of convolutions (which one
feeds which through anything that is no convolution) is compared with that of our own network by colour refinement, from
kernel sizes, strides and the channels of the last convolutions. What is found is only a claim; the caller proves it by
running both graphs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import onnx_ir as ir

from n6convert_yolov8.architecture import C2F_LAYERS, Architecture
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import Conv, Parameters, empty_parameters

__all__ = ["HeadEnds", "Unknown", "head_ends", "recover"]

#: one size for each published depth
_DEPTHS = ("n", "m")
_BRANCHES = {"boxes": "22.cv2", "scores": "22.cv3", "keypoints": "22.cv4"}


class Unknown(Exception):
    """The graph is not that of a YOLOv8 network; the message says what differs."""


@dataclass
class _Node:
    """A convolution in the graph of convolutions."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    stride: tuple[int, ...]
    sources: frozenset[str]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.weight.shape)


def recover(model: ir.Model, keypoint_shape: tuple[int, int] | None) -> Iterator[Parameters]:
    """Every way in which the file's convolutions can be those of a YOLOv8 network, most likely first.

    There is more than one only when branches of the head cannot be told apart by their channels.

    Args:
        model: the foreign graph, with constant weights.
        keypoint_shape: ``(count, values)`` where the file's metadata tell.

    Raises:
        Unknown: there is none.
    """
    convs, bins = _before_decoding(_conv_graph(model))
    for ends in head_ends(model):
        yield _as_parameters(convs, {convs[n].shape[0]: kind for n, kind in ends.items()}, bins, keypoint_shape)


def head_ends(model: ir.Model) -> Iterator[HeadEnds]:
    """The last convolutions of each branch, by node name: ``boxes``, ``scores`` or ``keypoints``; most likely first.

    Raises:
        Unknown: the head does not end in one convolution per stride and branch before a decoding of distributions.
    """
    convs, bins = _before_decoding(_conv_graph(model))
    fed = frozenset().union(*(n.sources for n in convs.values()))
    last = {name: n.shape[0] for name, n in convs.items() if name not in fed}
    widths = sorted(set(last.values()))
    if len(widths) not in (2, 3) or len(last) != 3 * len(widths):
        raise Unknown(f"its head ends in {len(last)} convolutions of {widths} channels")
    for roles in _roles(widths, 4 * bins):
        yield {name: roles[channels] for name, channels in last.items()}


HeadEnds = Mapping[str, str]


def _before_decoding(convs: Mapping[str, _Node]) -> tuple[dict[str, _Node], int]:
    """The convolutions without those that decode boxes, and the bins of the box distributions."""
    decoders = {n: c.shape[1] for n, c in convs.items() if c.shape[0] == 1 and c.shape[1] > 1 and _counts_up(c)}
    if len(set(decoders.values())) != 1:
        raise Unknown("no decoding of box distributions (DFL) was found behind its head")
    return {name: n for name, n in convs.items() if name not in decoders}, next(iter(decoders.values()))


def _roles(widths: Sequence[int], boxes: int) -> list[dict[int, str]]:
    """Which channel count may be which branch."""
    kinds = list(_BRANCHES)[: len(widths)]
    every = [dict(zip(order, kinds, strict=True)) for order in permutations(widths)]
    possible = [r for r in every if r.get(boxes) == "boxes"]
    return sorted(possible, key=lambda r: [w for w, kind in r.items() if kind == "scores"])


def _as_parameters(
    convs: Mapping[str, _Node], roles: Mapping[int, str], bins: int, keypoint_shape: tuple[int, int] | None
) -> Parameters:
    own = _reference(len(convs), "keypoints" in roles.values())
    names = _match(_conv_graph(own), convs, roles)
    found = {
        name: Conv(np.asarray(node.weight, np.float32), _bias(node))
        for name, node in ((n, convs[o]) for n, o in names.items())
    }
    width = {kind: channels for channels, kind in roles.items()}
    keypoints = (keypoint_shape or (width["keypoints"] // 3, 3)) if "keypoints" in width else None
    repeats = {layer: sum(n.startswith(f"{layer}.m.") for n in names) // 2 for layer in C2F_LAYERS}
    return Parameters(found, Architecture(repeats, width["scores"], bins, keypoints))


def _reference(count: int, pose: bool) -> ir.Model:
    """Our own graph with as many convolutions; its weights do not matter, nor does the meaning of its keypoints.

    Two values a point: with visibility the cut head has one convolution more a stride than foreign files.
    """
    for size in _DEPTHS:
        parameters = empty_parameters(size, (17, 2) if pose else None)
        if len(parameters.convs) == count:
            return build_network(parameters, (64, 64))
    raise Unknown(f"{count} convolutions are not those of any published depth")


def _match(own: Mapping[str, _Node], other: Mapping[str, _Node], roles: Mapping[int, str]) -> dict[str, str]:
    """Foreign name by own name, through equal colours."""
    branch = {f"{prefix}.{i}.2": kind for kind, prefix in _BRANCHES.items() for i in range(3)}
    fed = frozenset().union(*(n.sources for n in other.values()))
    first = {("own", n): (c.shape[2:], c.stride, branch.get(n, "")) for n, c in own.items()}
    first |= {
        ("other", n): (c.shape[2:], c.stride, roles[c.shape[0]] if n not in fed else "") for n, c in other.items()
    }
    edges = {("own", n): [("own", s) for s in c.sources] for n, c in own.items()}
    edges |= {("other", n): [("other", s) for s in c.sources] for n, c in other.items()}
    colours = _refine(first, edges)
    mine, theirs = ({c: n for (s, n), c in colours.items() if s == side} for side in ("own", "other"))
    if len(mine) != len(own) or set(mine) != set(theirs):
        raise Unknown("its convolutions are connected differently")
    return {mine[c]: theirs[c] for c in mine}


Key = tuple[str, str]


def _refine(first: Mapping[Key, object], edges: Mapping[Key, Sequence[Key]]) -> dict[Key, int]:
    """Colour refinement: nodes keep the same colour while they, what feeds them and what they feed look the same."""
    users: dict[Key, list[Key]] = {key: [] for key in edges}
    for key, sources in edges.items():
        for source in sources:
            users[source].append(key)
    colours = _numbered(dict(first))
    for _ in range(len(first)):
        views = {
            key: (colours[key], sorted(colours[s] for s in edges[key]), sorted(colours[u] for u in users[key]))
            for key in edges
        }
        refined = _numbered(views)
        if len(set(refined.values())) == len(set(colours.values())):
            return refined
        colours = refined
    return colours


def _numbered(views: Mapping[Key, object]) -> dict[Key, int]:
    numbers: dict[str, int] = {}
    return {key: numbers.setdefault(repr(view), len(numbers)) for key, view in views.items()}


def _conv_graph(model: ir.Model) -> dict[str, _Node]:
    """Convolutions with constant weights, by the name of their output, each with the convolutions that feed it."""
    feeders: dict[ir.Value, frozenset[str]] = {}
    found = {}
    for node in model.graph:
        data = node.inputs[:1] if node.op_type == "Conv" else node.inputs
        sources: frozenset[str] = frozenset().union(*(feeders.get(v, frozenset()) for v in data if v is not None))
        weight = _constant(node.inputs[1]) if node.op_type == "Conv" else None
        if weight is not None:
            name = str(node.outputs[0].name if node.name is None else node.name)
            bias = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
            strides = node.attributes.get_ints("strides", [1] * (weight.ndim - 2))
            found[name] = _Node(name, weight, bias, tuple(strides or ()), sources)
            sources = frozenset([name])
        feeders |= dict.fromkeys(node.outputs, sources)
    return found


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _bias(node: _Node) -> np.ndarray:
    return np.zeros(node.shape[0], np.float32) if node.bias is None else np.asarray(node.bias, np.float32)


def _counts_up(node: _Node) -> bool:
    """Whether the weights are 0, 1, 2, ...: the expectation over the bins of a distribution."""
    return bool(np.allclose(node.weight.ravel(), np.arange(node.weight.size), atol=0.1))
