"""Finding the layers of a network of the family in somebody else's ONNX file.

Exporters name and order nodes as they like, so layers are recognized by structure: the graph of convolutions (which
one feeds which through anything that is no convolution) is compared with that of our own network by color refinement,
from kernel sizes, strides, groups and the channels of the last convolutions; of all convolutions where the file has a
published width, which tells branches of equal shape apart. What is found is only a claim; the caller proves it by
running both graphs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from n6convert_yolov8.architecture import FAMILIES, STRIDES, TASKS, Task
from n6convert_yolov8.network import build_network
from n6convert_yolov8.parameters import Conv, Parameters
from n6convert_yolov8.published import MASKS, published_architecture, published_widths
from n6convert_yolov8.seeded import empty_parameters

__all__ = ["HeadWidths", "Unknown", "head_ends", "read_head", "recover"]

_SMALL = (64, 64)


class Unknown(Exception):
    """The graph is not that of a network of the family; the message says what differs."""


@dataclass
class _Node:
    """A convolution (or linear layer) in the graph of convolutions."""

    name: str
    weight: np.ndarray
    bias: np.ndarray | None
    kind: tuple[object, ...]
    sources: frozenset[str]

    @property
    def out(self) -> int:
        return int(self.weight.shape[0])


@dataclass(frozen=True)
class HeadWidths:
    """Channels that the branches of a head end in.

    Attributes:
        classes: of the scores.
        bins: of the box distributions; 1 for distances.
        extra: of the branch that the task adds, 0 for none.
    """

    classes: int
    bins: int
    extra: int

    def ends(self, task: Task) -> dict[str, int]:
        """Channels by what the branch answers."""
        kinds = {"pose": "keypoints", "segment": "masks", "obb": "angles"}
        widths = {"boxes": 4 * self.bins, "scores": self.classes}
        return widths | ({kinds[task]: self.extra} if task in kinds else {})


def read_head(model: ir.Model, task: Task, extra: int | None) -> HeadWidths:
    """What the branches of a file's head end in.

    Args:
        model: the foreign graph, with constant weights.
        task: what the file answers.
        extra: channels of the branch that pose adds, where the file's outputs or metadata tell.

    Raises:
        Unknown: it ends in other convolutions.
    """
    convs, bins = _before_decoding(_conv_graph(model))
    widths = Counter(convs[n].out for n in _ends(convs))
    if task == "classify":
        if sum(widths.values()) != 1:
            raise Unknown(f"it ends in {sum(widths.values())} layers")
        return HeadWidths(next(iter(widths)), 1, 0)
    wanted = {4 * bins: 3}
    more = {"segment": MASKS, "obb": 1}.get(task, extra or 0)
    rest = widths - Counter(wanted)
    if task == "segment":
        rest -= Counter([MASKS])
    if task == "pose" and not more:
        more = max((w for w in rest if not w % 3), default=0)
    if task != "detect":
        rest -= Counter({more: 3})
    if len(rest) != 1 or sum(rest.values()) != len(STRIDES) or sum(widths.values()) != _count_of_ends(task):
        ends = sorted(widths)
        raise Unknown(f"its head ends in {sum(widths.values())} convolutions of {ends} channels")
    return HeadWidths(next(iter(rest)), bins, more)


def recover(
    model: ir.Model, task: Task, widths: HeadWidths, keypoints: tuple[int, int] | None, end2end: bool
) -> Parameters:
    """The network of the family that the file's convolutions can be those of.

    Args:
        model: the foreign graph, with constant weights.
        task: what the file answers.
        widths: what its head ends in.
        keypoints: count and values for pose.
        end2end: the file's answers are those of an end-to-end head.

    Raises:
        Unknown: there is none.
    """
    convs, _ = _before_decoding(_conv_graph(model))
    for own, exact in _references(convs, task, widths, keypoints):
        names = _match(_before_decoding(_conv_graph(_graph_of(own)))[0], convs, exact=exact)
        if names is not None:
            found = {name: Conv(np.asarray(convs[o].weight, np.float32), _bias(convs[o])) for name, o in names.items()}
            return Parameters(found, replace(own.architecture, end2end=end2end))
    raise Unknown("its convolutions are connected differently")


def head_ends(model: ir.Model, task: Task, widths: HeadWidths) -> dict[str, str]:
    """What each of the last convolutions answers, by node name.

    Args:
        model: without its tail.
        task: what the network answers.
        widths: channels of each branch.

    Raises:
        Unknown: two branches end in as many channels each.
    """
    kinds = {width: kind for kind, width in widths.ends(task).items()}
    if len(kinds) < len(widths.ends(task)) or (task == "segment" and MASKS in (4 * widths.bins, widths.classes)):
        raise Unknown("two branches of its head have the same number of channels")
    convs, _ = _before_decoding(_conv_graph(model))
    return {name: kinds[convs[name].out] for name in _ends(convs)}


def _count_of_ends(task: Task) -> int:
    return 3 * (2 if task == "detect" else 3) + (task == "segment")


def _ends(convs: Mapping[str, _Node]) -> list[str]:
    """Convolutions that feed no other one."""
    fed = frozenset().union(*(n.sources for n in convs.values()))
    return [name for name in convs if name not in fed]


def _before_decoding(convs: Mapping[str, _Node]) -> tuple[dict[str, _Node], int]:
    """The convolutions without those that decode boxes, and the bins of the box distributions."""
    decoders = {n: c.weight.shape[1] for n, c in convs.items() if c.out == 1 and c.weight.size > 1 and _counts_up(c)}
    if len(set(decoders.values())) > 1:
        raise Unknown("its box distributions have different numbers of bins")
    bins = next(iter(decoders.values()), 1)
    return {name: n for name, n in convs.items() if name not in decoders}, int(bins)


def _references(
    convs: Mapping[str, _Node], task: Task, widths: HeadWidths, keypoints: tuple[int, int] | None
) -> Iterator[tuple[Parameters, bool]]:
    """Networks of ours with as many convolutions, and whether also as wide; their weights do not matter."""
    first = {c.out for c in convs.values() if not c.sources}
    there = False
    for exact in (True, False):
        for name in (f"{family}{size}{TASKS[task]}" for family in FAMILIES for size in ("nsm" if exact else "nm")):
            shape = published_architecture(name, classes=widths.classes, keypoints=keypoints)
            own = published_widths(name, shape)
            fits = (task == "classify" or shape.reg_max == widths.bins) and len(own) == len(convs)
            there |= fits
            if fits and (not exact or first == {own["0"]}):
                yield empty_parameters(name, classes=widths.classes, keypoints=keypoints), exact
    if not there:
        raise Unknown(f"{len(convs)} convolutions are not those of any published depth")


def _graph_of(own: Parameters) -> ir.Model:
    return build_network(own, _SMALL, head="full", as_published=True)


def _match(own: Mapping[str, _Node], other: Mapping[str, _Node], *, exact: bool) -> dict[str, str] | None:
    """Foreign name by own name, through equal colors; ``exact``: all channels are equal, not only those of ends."""
    first: dict[Key, object] = {}
    edges: dict[Key, Sequence[Key]] = {}
    for side, convs in (("own", own), ("other", other)):
        ends = set(_ends(convs))
        first |= {(side, n): (c.kind, c.out if exact or n in ends else 0) for n, c in convs.items()}
        edges |= {(side, n): [(side, s) for s in c.sources] for n, c in convs.items()}
    colors = _refine(first, edges)
    mine, theirs = ({c: n for (s, n), c in colors.items() if s == side} for side in ("own", "other"))
    if len(mine) != len(own) or set(mine) != set(theirs):
        return None
    return {mine[c]: theirs[c] for c in mine}


Key = tuple[str, str]


def _refine(first: Mapping[Key, object], edges: Mapping[Key, Sequence[Key]]) -> dict[Key, int]:
    """Color refinement: nodes keep the same color while they, what feeds them and what they feed look the same."""
    users: dict[Key, list[Key]] = {key: [] for key in edges}
    for key, sources in edges.items():
        for source in sources:
            users[source].append(key)
    colors = _numbered(dict(first))
    for _ in range(len(first)):
        views = {
            key: (colors[key], sorted(colors[s] for s in edges[key]), sorted(colors[u] for u in users[key]))
            for key in edges
        }
        refined = _numbered(views)
        if len(set(refined.values())) == len(set(colors.values())):
            return refined
        colors = refined
    return colors


def _numbered(views: Mapping[Key, object]) -> dict[Key, int]:
    numbers: dict[str, int] = {}
    return {key: numbers.setdefault(repr(view), len(numbers)) for key, view in views.items()}


def _conv_graph(model: ir.Model) -> dict[str, _Node]:
    """Convolutions with constant weights, by the name of their output, each with the convolutions that feed it."""
    feeders: dict[ir.Value, frozenset[str]] = {}
    found = {}
    for node in model.graph:
        weight = _weight(node)
        data = node.inputs if weight is None else node.inputs[:1]
        sources: frozenset[str] = frozenset().union(*(feeders.get(v, frozenset()) for v in data if v is not None))
        if weight is not None:
            name = str(node.outputs[0].name if node.name is None else node.name)
            bias = _constant(node.inputs[2]) if len(node.inputs) > 2 else None
            found[name] = _Node(name, weight, bias, _kind(node, weight), sources)
            sources = frozenset([name])
        feeders |= dict.fromkeys(node.outputs, sources)
    return found


def _weight(node: ir.Node) -> np.ndarray | None:
    """The constant weights of a convolution, or those of a linear layer as a 1x1 convolution's."""
    if node.op_type in ("Conv", "ConvTranspose"):
        return _constant(node.inputs[1])
    if node.op_type != "Gemm":
        return None
    weight = _constant(node.inputs[1])
    if weight is None or weight.ndim != 2:
        return None
    turned = weight if node.attributes.get_int("transB", 0) else weight.T
    return np.ascontiguousarray(turned)[..., None, None]


def _kind(node: ir.Node, weight: np.ndarray) -> tuple[object, ...]:
    strides = node.attributes.get_ints("strides", [1] * (weight.ndim - 2))
    groups = node.attributes.get_int("group", 1)
    return (node.op_type == "ConvTranspose", tuple(weight.shape[2:]), tuple(strides or ()), (groups or 1) > 1)


def _constant(value: ir.Value | None) -> np.ndarray | None:
    tensor = ir.convenience.get_const_tensor(value) if value is not None else None
    return None if tensor is None else tensor.numpy()


def _bias(node: _Node) -> np.ndarray:
    return np.zeros(node.out, np.float32) if node.bias is None else np.asarray(node.bias, np.float32)


def _counts_up(node: _Node) -> bool:
    """Whether the weights are 0, 1, 2, ...: the expectation over the bins of a distribution."""
    return bool(np.allclose(node.weight.ravel(), np.arange(node.weight.size), atol=0.1))
