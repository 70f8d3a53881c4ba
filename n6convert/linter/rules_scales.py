"""One grid over values of different size, such as pixels and probabilities: the silent loss of accuracy
([#quantization])."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.dag import fold, reach
from n6convert.graph.ends import ending_at
from n6convert.graph.operators import CONVERSIONS
from n6convert.linter.constants import LEVELS_FULL, LEVELS_LOST, LEVELS_POOR, SAME_GRID
from n6convert.linter.finding import Break, Finding, Severity, limit, registered
from n6convert.linter.view import View, constant, label, named
from n6convert.runtime.comparison import BOUNDED

__all__ = ["lost_outputs", "measured"]

_REMEDY = "cut the graph before they are joined, so that each part has its own scale, or bring them to one range first"
_EVIDENCE = "measured: 6.7 points of AP on a YOLOv8n whose boxes (0..640) and scores (0..1) shared one scale"
_MOVES = SAME_GRID | CONVERSIONS | {"Clip", "Relu"}


@limit(Severity.WARNING, remedy=_REMEDY, evidence=_EVIDENCE)
def mixed_scales(view: View) -> Iterator[Break]:
    """Values joined under one scale share its 256 levels: a part that spans fewer than {LEVELS_POOR} of them loses its
    precision, below {LEVELS_LOST} its meaning."""
    widths = _Widths()
    for node in view.of_type("Concat"):
        if not view.depends_on_input(node.outputs[0]):
            continue
        width = _grid_width(node.outputs[0])
        yield from _coarse(node, width, widths) if width is not None else _unlike(node, widths)


def measured(model: ir.Model, feeds: Iterable[Mapping[str, NDArray[Any]]]) -> list[Finding]:
    """Findings of ``mixed-scales`` from values: quantized outputs of which some channels keep only a few levels.

    Args:
        model: a QDQ graph whose outputs come from DequantizeLinear (others are not looked at).
        feeds: a few inputs by name; none: no findings.
    """
    steps = {v.name or "": _step(v) for v in model.graph.outputs}
    steps = {name: step for name, step in steps.items() if step is not None}
    samples = list(feeds)
    if not steps or not samples:
        return []
    from n6convert.runtime.session import Session

    session = Session(model, list(steps))
    outputs = [session.run(feed) for feed in samples]
    rule = registered()["mixed-scales"]
    found: list[Finding] = []
    for name, step in steps.items():
        for text in _poor_channels([np.asarray(o[name]) for o in outputs], float(step or 1)):
            found.append(Finding(rule.name, rule.severity, None, name, rule.sentence, text, rule.remedy, rule.evidence))
    return found


def lost_outputs(view: View) -> list[Finding]:
    """Errors of ``mixed-scales`` about values that leave the network joined: nothing behind them evens scales out."""
    leaving = {node.outputs[0].name for node in view.of_type("Concat") if _parted(node)}
    found = registered()["mixed-scales"].findings(view)
    return [f for f in found if f.severity is Severity.ERROR and f.tensor in leaving]


def _coarse(node: ir.Node, width: float, widths: _Widths) -> Iterator[Break]:
    """A quantized Concat: parts that span too few of its levels."""
    for value in node.inputs:
        span = widths.span(value)
        if value is None or span is None or span <= 0:
            continue
        levels = span / width * 255
        if levels < LEVELS_POOR:
            text = f"'{named(value)}' spans {span:.4g} of {width:.4g}: {levels:.1f} of 256 levels"
            lost = levels < LEVELS_LOST and widths.bounded(value) is not None
            yield Break(text, label(node), node.outputs[0].name, Severity.ERROR if lost else None, _parted(node))


def _unlike(node: ir.Node, widths: _Widths) -> Iterator[Break]:
    """A float Concat: parts bound to 0..1 beside parts that nothing bounds."""
    parts = [(value, widths.bounded(value)) for value in node.inputs if value is not None and constant(value) is None]
    bounded = [value for value, span in parts if span is not None]
    free = [value for value, span in parts if span is None]
    if bounded and free:
        text = f"'{bounded[0].name}' lies in a fixed interval, '{free[0].name}' is not bounded"
        yield Break(text, label(node), node.outputs[0].name, remedy=_parted(node))


def _parted(node: ir.Node) -> str | None:
    """The setting that makes outputs of the operands; None where the network computes on behind the Concat."""
    ends, graph = _ends(node.outputs[0]), node.graph
    if ends is None or graph is None:
        return None
    others = [v for v in graph.outputs if v not in ends]
    names = [named(v) for v in (*others, *node.inputs) if v is not None]
    if any(v.name in names for v in ends):
        return None
    return f"let each part be an output on its own scale: {ending_at(names)}"


def _ends(value: ir.Value) -> set[ir.Value] | None:
    """The graph outputs that a value reaches; None when more than moves lies on the way."""
    found = set()
    for reached in reach(value, lambda v: [use.node.outputs[0] for use in v.uses()]):
        if any(use.node.op_type not in _MOVES for use in reached.uses()):
            return None
        found |= {reached} if reached.is_graph_output() else set()
    return found


class _Widths:
    """How wide the intervals are that values of one graph can fill."""

    def __init__(self) -> None:
        self._spans: dict[ir.Value | None, float | None] = {}
        self._bounds: dict[ir.Value | None, float | None] = {}

    def span(self, value: ir.Value | None) -> float | None:
        """Of the interval a branch can fill: of its bounding operator, or the narrowest grid it went through."""
        return fold(value, _sources, self._span, self._spans)

    def bounded(self, value: ir.Value | None) -> float | None:
        """Of the fixed interval in which a value lies by construction; None when nothing bounds it."""
        return fold(value, _sources, _bounds, self._bounds)

    def _span(self, value: ir.Value | None, inner: Sequence[float | None]) -> float | None:
        known = [w for w in inner if w is not None]
        widths = [min(known)] if known and len(known) == len(inner) else []
        node = value.producer() if value is not None else None
        step = _scale(node) if node is not None and node.op_type in {"QuantizeLinear", "DequantizeLinear"} else None
        widths += [w for w in (self.bounded(value), None if step is None else step * 255) if w is not None]
        return min(widths, default=None)


def _sources(value: ir.Value | None) -> Sequence[ir.Value | None]:
    """What a value holds values of: the operands of a Concat, the input of another operator that moves them."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type not in _MOVES or node.op_type in BOUNDED:
        return ()
    return node.inputs if node.op_type == "Concat" else node.inputs[:1]


def _bounds(value: ir.Value | None, inner: Sequence[float | None]) -> float | None:
    node = value.producer() if value is not None else None
    if node is not None and node.op_type in BOUNDED:
        low, high = BOUNDED[node.op_type]
        return high - low
    return max((w for w in inner if w is not None), default=None) if None not in inner else None


def _grid_width(value: ir.Value) -> float | None:
    steps = [_scale(u.node) for u in value.uses() if u.node.op_type == "QuantizeLinear"]
    known = [s for s in steps if s is not None]
    return max(known) * 255 if known else None


def _scale(node: ir.Node) -> float | None:
    scale = constant(node.inputs[1])
    return float(scale.ravel()[0]) if scale is not None and scale.size == 1 else None


def _step(value: ir.Value) -> float | None:
    """Step of the grid a graph output lies on."""
    node = value.producer()
    while node is not None and node.op_type in SAME_GRID and node.op_type != "Concat":
        source = node.inputs[0]
        node = source.producer() if source is not None else None
    return _scale(node) if node is not None and node.op_type == "DequantizeLinear" else None


def _poor_channels(arrays: list[NDArray[Any]], step: float) -> Iterator[str]:
    """One sentence for the axis along which channels differ most, when some keep too few levels beside full ones."""
    if any(a.shape != arrays[0].shape or a.ndim < 2 for a in arrays):
        return
    stacked = np.stack(arrays)
    for axis in _channel_axes(stacked.shape):
        rest = tuple(i for i in range(stacked.ndim) if i != axis)
        levels = np.ptp(stacked, axis=rest) / step
        poor = np.flatnonzero((levels > 0) & (levels < LEVELS_POOR))
        if levels.max() >= LEVELS_FULL and len(poor) and stacked.shape[axis] <= 4096 and _separate(levels):
            worst = int(poor[np.argmin(levels[poor])])
            yield (
                f"along axis {axis - 1}, {len(poor)} of {len(levels)} channels keep fewer than {LEVELS_POOR} levels "
                f"(channel {worst}: {levels[worst]:.0f}; the widest: {levels.max():.0f})"
            )
            return


def _channel_axes(shape: tuple[int, ...]) -> list[int]:
    """Axes that may hold channels, samples stacked in front; rows and columns of a map are not among them.

    A rank-4 tensor is [N,C,H,W] unless its first two sizes are those of a square map and its last is not.
    """
    if len(shape) != 5:
        return list(range(2, len(shape)))
    return [4] if shape[2] == shape[3] != shape[4] else [2]


def _separate(levels: NDArray[Any]) -> bool:
    """True when channels fall into two groups far apart (pixels and scores), not into one broad spread (classes)."""
    return bool(levels[levels >= LEVELS_POOR].min(initial=256) >= LEVELS_FULL)
