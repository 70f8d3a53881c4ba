"""What four bits in one layer do to the last layers' results, on held-back samples.

The outputs themselves saturate: behind a Softmax or a Sigmoid a small error and a large one look alike, and what two
layers cost together is not what each costs alone. In front of those functions errors add up, so there layers are
measured one by one. An output that something reaches past the last layers is measured itself, as behind a sum at the
end: a LayerNormalization's last layer, where it is written out, gives no more than a variance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.copying import copied
from n6convert.graph.dag import reach
from n6convert.graph.extract import cut
from n6convert.graph.operators import CONVERSIONS, LAYERS
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.walk import Layer, layers_of, walk_layers
from n6convert.quantization.padding import tokens_of, without_padding
from n6convert.quantization.stable import first_least
from n6convert.quantization.time_budget import TimeBudget
from n6convert.quantization.weights.four_bits import Narrow, put
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["last_layers", "layer_noise", "quieter"]

#: samples at most, at least, and results of them together that are enough
_MOST, _LEAST, _RESULTS = 16, 4, 1 << 16
#: layers in a row behind which the rest of the model is opened once
_SHARED = 8
#: samples on which whole models are compared
_COMPARED = 8
Results = list[NDArray[np.float64]]
"""One array for each of the ends."""


class Ends(NamedTuple):
    """Where the results of a model are compared.

    Attributes:
        layers: names of last layers.
        outputs: names of outputs that something reaches past the last layers.
    """

    layers: list[str]
    outputs: list[str]

    def tensors(self, model: ir.Model) -> list[str]:
        """Their names in the float model or an INT8 one: of what each layer gives, and the outputs."""
        nodes = layers_by_name(model.graph)
        return [*(nodes[name].outputs[0].name or "" for name in self.layers), *self.outputs]


def last_layers(model: ir.Model) -> list[str]:
    """Names of the layers behind which no other one comes, in order."""
    above: set[ir.Node] = set()
    found: list[str] = []
    for node in reversed(list(model.graph)):
        ahead = any(user in above for value in node.outputs for user in value.consumers())
        if node.op_type in LAYERS and not ahead:
            found.append(node.name or "")
        if node.op_type in LAYERS or ahead:
            above.add(node)
    return found[::-1]


def ends_of(model: ir.Model) -> Ends:
    """The last layers that all of some output comes from, and the outputs of which that is not so."""
    names, inputs = last_layers(model), set(model.graph.inputs)
    last = {node for node in model.graph if node.name in names}
    ends, outputs = set[str](), list[str]()
    for output in model.graph.outputs:
        above = list(reach(output, lambda v: _operands(v, last)))
        if inputs.isdisjoint(above):
            ends.update(n.name or "" for n in map(ir.Value.producer, above) if n in last)
        else:
            outputs.append(output.name or "")
    return Ends([name for name in names if name in ends], outputs)


def _operands(value: ir.Value, last: Collection[ir.Node]) -> Iterator[ir.Value]:
    """What a value is made from; nothing where one of these nodes gives it."""
    node = value.producer()
    return (v for v in (node.inputs if node is not None and node not in last else ()) if v is not None)


def layer_noise(
    float_model: ir.Model,
    model: ir.Model,
    layers: Iterable[Narrow],
    held_back: Sequence[Feeds],
    threads: int | None = None,
    budget: TimeBudget | None = None,
) -> dict[str, float]:
    """By how much each layer alone in four bits raises the noise of the last layers' results, by layer name.

    The mean over :func:`ends_of` the model; relative to the energy of what results there differ from their mean.

    Args:
        model: INT8; not changed.
        layers: their four-bit weights.
        held_back: samples, of which a few are run.

    Raises:
        BudgetExceeded: the budget ended.
    """
    judge = _Judge(float_model, held_back)
    wanted = {narrow.layer: narrow for narrow in layers}
    base = judge.noise(model)
    found: dict[str, float] = {}
    copy = copied(model)
    ahead = [layer.node for layer in layers_of(copy) if layer.name in wanted]
    tail = judge.tail(copy, [])
    for index, layer in enumerate(walk_layers(copy, judge.samples, threads, budget or TimeBudget(), wanted)):
        if index % _SHARED == 0:
            tail = judge.tail(copy, ahead[index + _SHARED : index + _SHARED + 1])
        with _as_narrow(layer, wanted[layer.name]):
            found[layer.name] = float(np.mean(judge.noise_from(layer, tail, base) - base))
    return found


def quieter(float_model: ir.Model, models: Sequence[ir.Model], held_back: Sequence[Feeds]) -> int:
    """Which of some INT8 models has the least noise in the last layers' results: the first of those that are alike."""
    judge = _Judge(float_model, held_back, _COMPARED)
    return first_least([float(np.mean(judge.noise(model))) for model in models])


class _Tail(NamedTuple):
    """The end of a model, which several layers in front of it have in common.

    Attributes:
        start: the node that it begins with; None: there is nothing.
        entries: names of what it reads.
    """

    start: ir.Node | None
    entries: list[str]
    session: Session | None


class _Judge:
    """Compares the results of a model with what they are in float, on as few samples as give enough of them."""

    def __init__(self, model: ir.Model, held_back: Sequence[Feeds], most: int = _MOST, least: int = _LEAST) -> None:
        self._ends = ends_of(model)
        exact = self._runs(model, held_back)
        self.samples: list[Feeds] = []
        self._exact: list[Results] = []
        for results in islice(exact, most):
            self.samples.append(held_back[len(self.samples)])
            self._exact.append(results)
            enough = sum(r.size for r in results) * len(self.samples) >= _RESULTS
            if enough and len(self.samples) >= least:
                break
        self._tokens = [tokens_of(model.graph, sample) for sample in self.samples]
        self._exact = [self._shown(r, i) for i, r in enumerate(self._exact)]
        self._spread = np.array([_spread(results) for results in zip(*self._exact, strict=True)])

    def _shown(self, results: Results, sample: int) -> Results:
        return [without_padding(values, self._tokens[sample]) for values in results]

    def _runs(self, model: ir.Model, samples: Iterable[Feeds]) -> Iterator[Results]:
        names = self._ends.tensors(model)
        session = Session(model, names, threads=1)
        for sample in samples:
            found = session.run_on(sample)
            yield [np.asarray(found[name], np.float64) for name in names]

    def noise(self, model: ir.Model) -> NDArray[np.float64]:
        """Of each of the ends."""
        shown = [self._shown(results, i) for i, results in enumerate(self._runs(model, self.samples))]
        return np.array([self._noise(i, [r[i] for r in shown]) for i in range(len(self._spread))])

    def tail(self, model: ir.Model, start: Sequence[ir.Node]) -> _Tail:
        """The model from a node on; nothing where there is none."""
        if not start:
            return _Tail(None, [], None)
        part = _part(model, start[0], None, self._ends.tensors(model))
        entries = [v.name or "" for v in part.graph.inputs]
        return _Tail(start[0], entries, Session(part, threads=1, last_use=True))

    def noise_from(self, layer: Layer, tail: _Tail, before: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, of a model that differs from the one before in this layer, by running it from there on."""
        names = self._ends.tensors(layer.model)
        part = _part(layer.model, layer.node, tail.start, [*names, *tail.entries])
        entries, session = [v.name or "" for v in part.graph.inputs], Session(part, threads=1, last_use=True)
        known = dict.fromkeys((*entries, *(e for e in tail.entries if e not in session.outputs)))
        runs = []
        for state in zip(*(layer.held(name) or () for name in known), strict=True):
            values = dict(zip(known, state, strict=True))
            values |= session.run_on(values)
            runs.append(values | (tail.session.run_on(values) if tail.session is not None else {}))
        found = before.copy()
        for index, name in enumerate(names):
            if name in runs[0]:
                shown = [self._shown([np.asarray(r[name], np.float64)], i)[0] for i, r in enumerate(runs)]
                found[index] = self._noise(index, shown)
        return found

    def _noise(self, index: int, results: Sequence[NDArray[np.float64]]) -> float:
        gaps = (a - e[index] for a, e in zip(results, self._exact, strict=True))
        return float(sum(np.vdot(gap, gap) for gap in gaps) / self._spread[index])


def _spread(arrays: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate([a.ravel() for a in arrays])
    apart = values - values.mean()
    return float(np.vdot(apart, apart)) or float(np.vdot(values, values)) or 1.0


def _part(model: ir.Model, start: ir.Node, end: ir.Node | None, names: Collection[str]) -> ir.Model:
    """The model from one node up to another, and up to those tensors of these names that are made there."""
    order = list(model.graph)
    own = slice(order.index(start), None if end is None else order.index(end))
    later = set(order[own]) - {n for n in order if n.op_type in CONVERSIONS}
    nodes = [n for n in order if n in later or _belongs(n, later)]
    made = {v for n in nodes for v in n.outputs}
    entries = {v for n in nodes for v in n.inputs if v is not None and v.const_value is None} - made
    outputs = [v for n in nodes for v in n.outputs if v.name in names]
    return cut(model, nodes, sorted(entries, key=lambda v: v.name or ""), outputs)


def _belongs(node: ir.Node, later: set[ir.Node]) -> bool:
    """Whether a pair's half serves these nodes: it rounds what they make, or is what they or an output read."""
    if node.op_type == "QuantizeLinear":
        source = node.inputs[0]
        return source is not None and source.producer() in later
    if node.op_type != "DequantizeLinear":
        return False
    quantize = node.inputs[0].producer() if node.inputs[0] is not None and node.outputs[0].is_graph_output() else None
    ends = quantize is not None and _belongs(quantize, later)
    return ends or any(user in later for user in node.outputs[0].consumers())


@contextmanager
def _as_narrow(layer: Layer, narrow: Narrow) -> Iterator[None]:
    """The layer with its four-bit weights for a while."""
    values = [layer.initializer(index, part) for index in (1, 2) for part in (0, 1)]
    before = [value.const_value for value in values]
    put(layer, narrow)
    try:
        yield
    finally:
        for value, tensor in zip(values, before, strict=True):
            value.const_value = tensor
