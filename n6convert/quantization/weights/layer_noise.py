"""What four bits in one layer do to the last layers' results, on held-back samples.

The outputs themselves saturate: behind a Softmax or a Sigmoid a small error and a large one look alike, and what two
layers cost together is not what each costs alone. In front of those functions errors add up, so there layers are
measured one by one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.copying import copied
from n6convert.graph.extract import cut
from n6convert.graph.operators import CONVERSIONS, LAYERS
from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.walk import Layer, walk_layers
from n6convert.quantization.padding import tokens_of, without_padding
from n6convert.quantization.stable import first_least
from n6convert.quantization.time_budget import TimeBudget
from n6convert.quantization.weights.four_bits import Narrow, put
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["last_layers", "layer_noise", "quieter"]

#: samples at most, at least, and results of them together that are enough
_MOST, _LEAST, _RESULTS = 16, 4, 1 << 16
#: samples on which whole models are compared
_COMPARED = 8
Results = list[NDArray[np.float64]]
"""One array for each last layer."""


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


def layer_noise(
    float_model: ir.Model,
    model: ir.Model,
    layers: Iterable[Narrow],
    held_back: Sequence[Feeds],
    threads: int | None = None,
    budget: TimeBudget | None = None,
) -> dict[str, float]:
    """By how much each layer alone in four bits raises the noise of the last layers' results, by layer name.

    The mean over these of the noise's energy relative to the energy of what results differ from their mean.

    Args:
        model: INT8; not changed.
        layers: their four-bit weights.
        held_back: samples, of which a few are run.

    Raises:
        BudgetExceeded: the budget ended.
    """
    judge = _Judge(float_model, last_layers(float_model), held_back)
    wanted = {narrow.layer: narrow for narrow in layers}
    base = judge.noise(model)
    found: dict[str, float] = {}
    for layer in walk_layers(copied(model), judge.samples, threads, budget or TimeBudget(), wanted):
        with _as_narrow(layer, wanted[layer.name]):
            found[layer.name] = float(np.mean(judge.noise_from(layer, base) - base))
    return found


def quieter(float_model: ir.Model, models: Sequence[ir.Model], held_back: Sequence[Feeds]) -> int:
    """Which of some INT8 models has the least noise in the last layers' results: the first of those that are alike."""
    judge = _Judge(float_model, last_layers(float_model), held_back, _COMPARED, _COMPARED)
    return first_least([float(np.mean(judge.noise(model))) for model in models])


class _Judge:
    """Compares the results of some layers with what they are in float, on as few samples as give enough of them."""

    def __init__(
        self, model: ir.Model, names: Sequence[str], held_back: Sequence[Feeds], most: int = _MOST, least: int = _LEAST
    ) -> None:
        self._names = names
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
        self._spread = np.array([_spread([r[i] for r in self._exact]) for i in range(len(names))])

    def _shown(self, results: Results, sample: int) -> Results:
        return [without_padding(values, self._tokens[sample]) for values in results]

    def _runs(self, model: ir.Model, samples: Iterable[Feeds]) -> Iterator[Results]:
        outputs = _outputs(model, self._names)
        session = Session(model, list(outputs.values()), threads=1)
        for sample in samples:
            found = session.run_on(sample)
            yield [np.asarray(found[outputs[name]], np.float64) for name in self._names]

    def noise(self, model: ir.Model) -> NDArray[np.float64]:
        """Of each last layer."""
        return self._compared(list(self._runs(model, self.samples)))

    def noise_from(self, layer: Layer, before: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same, of a model that differs from the one before in this layer, by running it from there on."""
        part, names = _rest(layer, self._names)
        entries, outputs = ([v.name or "" for v in ends] for ends in (part.graph.inputs, part.graph.outputs))
        session = Session(part, threads=1, last_use=True)
        states = zip(*(layer.held(name) or () for name in entries), strict=True)
        runs = [session.run(dict(zip(entries, state, strict=True))) for state in states]
        found = before.copy()
        for name, output in zip(names, outputs, strict=True):
            index = self._names.index(name)
            results = [np.asarray(run[output], np.float64) for run in runs]
            found[index] = self._noise(
                index, [without_padding(r, t) for r, t in zip(results, self._tokens, strict=True)]
            )
        return found

    def _compared(self, runs: Sequence[Results]) -> NDArray[np.float64]:
        shown = [self._shown(results, i) for i, results in enumerate(runs)]
        return np.array([self._noise(i, [r[i] for r in shown]) for i in range(len(self._names))])

    def _noise(self, index: int, results: Sequence[NDArray[np.float64]]) -> float:
        gaps = (a - e[index] for a, e in zip(results, self._exact, strict=True))
        return float(sum(np.vdot(gap, gap) for gap in gaps) / self._spread[index])


def _spread(arrays: Sequence[NDArray[np.float64]]) -> float:
    values = np.concatenate([a.ravel() for a in arrays])
    apart = values - values.mean()
    return float(np.vdot(apart, apart)) or float(np.vdot(values, values)) or 1.0


def _outputs(model: ir.Model, names: Iterable[str]) -> dict[str, str]:
    nodes = layers_by_name(model.graph)
    return {name: nodes[name].outputs[0].name or "" for name in names}


def _rest(layer: Layer, names: Sequence[str]) -> tuple[ir.Model, list[str]]:
    """The model from a layer on, up to the last layers that come there, and their names."""
    order = list(layer.model.graph)
    later = set(order[order.index(layer.node) :]) - {n for n in order if n.op_type in CONVERSIONS}
    nodes = [n for n in order if n in later or _belongs(n, later)]
    made = {v for n in nodes for v in n.outputs}
    entries = {v for n in nodes for v in n.inputs if v is not None and v.const_value is None} - made
    ends = [n for n in nodes if n.name in names]
    outputs = [n.outputs[0] for n in ends]
    part = cut(layer.model, nodes, sorted(entries, key=lambda v: v.name or ""), outputs)
    return part, [n.name or "" for n in ends]


def _belongs(node: ir.Node, later: set[ir.Node]) -> bool:
    """Whether a pair's half serves these nodes: it rounds what they make, or is what they read."""
    if node.op_type == "QuantizeLinear":
        source = node.inputs[0]
        return source is not None and source.producer() in later
    return node.op_type == "DequantizeLinear" and any(user in later for user in node.outputs[0].consumers())


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
