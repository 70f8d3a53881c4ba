"""Walking an INT8 model layer by layer over a few samples.

Between layers only int8 codes are kept, so a walk costs about one inference a sample and little memory. Methods that
change a layer (bias correction, rounding) see its true, already quantized inputs, decide, and the walk goes on with
what they decided.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import cut
from n6convert.graph.operators import CONVERSIONS, LAYERS
from n6convert.quantization.grid.plan import along
from n6convert.quantization.prepare.operator_forms import static_dims
from n6convert.quantization.time_budget import TimeBudget
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped

__all__ = ["Layer", "Rows", "layers_at_once", "layers_of", "rows_of", "walk_layers"]

Codes = dict[str, NDArray[Any]]
#: results of a layer ``[samples, channels, places]``
Rows = NDArray[np.float32]
#: codes that a layer reads in one run, and of all layers that are held together
_AT_ONCE, _HELD = 1 << 19, 1 << 27


class Layer:
    """A node with integer weights and bias, and the codes that reach it in each sample."""

    def __init__(
        self, model: ir.Model, node: ir.Node, states: Sequence[Codes], threads: int | None, budget: TimeBudget
    ) -> None:
        self.model = model
        self.node = node
        self._states = states
        self.threads = threads
        self._clock = budget

    @property
    def samples(self) -> int:
        """How many samples reach it."""
        return len(self._states)

    @property
    def name(self) -> str:
        """The node's name, the same as in the float model."""
        return self.node.name or ""

    def initializer(self, index: int, part: int = 0) -> ir.Value:
        """Codes (part 0), scale (1) or zero point (2) behind the node's operand."""
        value = self.node.inputs[index]
        producer = value.producer() if value is not None else None
        found = producer.inputs[part] if producer is not None else None
        assert found is not None
        return found

    @property
    def output_scale(self) -> float:
        """The step of the grid behind the layer."""
        quantize = next(n for n in self.node.outputs[0].consumers() if n.op_type == "QuantizeLinear")
        scale = quantize.inputs[1]
        assert scale is not None
        return _number(scale)

    def weight(self) -> NDArray[np.float64]:
        """The numbers that the layer's integer weights stand for."""
        codes, scales = (self.initializer(1, part).const_value for part in (0, 1))
        dequantize = self.node.inputs[1].producer()  # type: ignore[union-attr]
        assert codes is not None and scales is not None and dequantize is not None
        axis = dequantize.attributes.get_int("axis")
        steps = along(scales.numpy().astype(np.float64), codes.numpy().ndim, axis)
        values: NDArray[np.float64] = codes.numpy() * steps
        return values

    @property
    def zero_point(self) -> int:
        """The code that stands for 0 in :meth:`codes`."""
        return int(_number(self.initializer(0, 2)))

    def codes(self) -> Iterator[NDArray[np.int8]]:
        """The input of each sample."""
        name = self.initializer(0).name or ""
        yield from (state[name] for state in self._clock.watch(self._states))

    def held(self, name: str) -> Iterator[NDArray[np.int8]] | None:
        """Codes of another tensor in each sample; None where it is not there yet, or no more."""
        if not self._states or name not in self._states[0]:
            return None
        return (state[name] for state in self._clock.watch(self._states))

    def outputs(self) -> Iterator[NDArray[np.float32]]:
        """The result of each sample before it is rounded, with the present weights and bias."""
        session, source, _ = self._session()
        for state in self._clock.watch(self._states):
            yield next(iter(session.run({source: state[source]}).values()))

    def rows(self, step: int) -> Iterator[Rows]:
        """:meth:`outputs` at every so many-th place, of some samples at once, as :func:`rows_of` gives them."""
        session, source, left = self._session(step)
        states = [state[source] for state in self._states]
        count = self._together(states[0]) if states else 1
        parts = [states[start : start + count] for start in range(0, len(states), count)]

        def run(part: list[NDArray[Any]]) -> Rows:
            codes = np.concatenate(part) if len(part) > 1 else part[0]
            return rows_of(self.node, next(iter(session.run({source: codes}).values())), left, len(part))

        yield from mapped(run, self._clock.watch(parts), self.threads)

    def _together(self, codes: NDArray[Any]) -> int:
        """How many samples one run takes: few enough for a processor's cache."""
        if self.node.op_type == "Gemm" and self.node.attributes.get_int("transA", 0) == 1:
            return 1  # whose rows are columns
        return max(1, _AT_ONCE // max(codes.size, 1))

    def _session(self, step: int = 1) -> tuple[Session, str, int]:
        """The layer alone for any number of samples, the name of what it reads, and the step that is left to take."""
        source = self.initializer(0)
        part = cut(self.model, [*_dequantizers([self.node]), self.node], [source], [self.node.outputs[0]])
        part.graph.inputs[0].shape = ir.Shape([None, *list(source.shape or ())[1:]])
        part.graph.outputs[0].shape = ir.Shape([None] * len(self.node.outputs[0].shape or ()))
        left = 1 if _stride_wider(part.graph[-1], step) else step
        return Session(part, threads=1, last_use=True), source.name or "", left


def rows_of(node: ir.Node, values: NDArray[np.float32], step: int = 1, samples: int = 1) -> Rows:
    """A layer's results at every so many-th place along each axis of places: ``[samples, channels, places]``.

    Args:
        node: the layer.
        values: its results.
        step: from one place to the next that counts.
        samples: how many lie along the first axis.
    """
    places = slice(None, None, step)
    if node.op_type == "Gemm":
        by_sample = values.reshape(samples, -1, values.shape[-1])[:, places]
        return np.ascontiguousarray(by_sample.transpose(0, 2, 1))
    some = values[(slice(None), slice(None), *[places] * (values.ndim - 2))]
    if len(some) > samples:  # a network for several inputs at once
        by_sample = some.reshape(samples, -1, *some.shape[1:]).swapaxes(1, 2)
        return np.ascontiguousarray(by_sample).reshape(samples, some.shape[1], -1)
    return np.ascontiguousarray(some).reshape(*some.shape[:2], -1)


def _stride_wider(node: ir.Node, step: int) -> bool:
    """Let a convolution compute every so many-th place only; False where its padding depends on its stride."""
    if node.op_type != "Conv" or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        return False
    rank = len(node.outputs[0].shape or ()) - 2
    strides = [s * step for s in node.attributes.get_ints("strides", [1] * rank)]
    node.attributes["strides"] = ir.AttrInt64s("strides", strides)
    return True


def layers_of(model: ir.Model) -> Iterator[Layer]:
    """The layers of an INT8 model in order, without samples."""
    yield from (
        Layer(model, n, [], None, TimeBudget()) for n in model.graph if n.op_type in LAYERS and _has_integers(n)
    )


def walk_layers(
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    threads: int | None = None,
    budget: TimeBudget | None = None,
    names: Collection[str] | None = None,
) -> Iterator[Layer]:
    """Yield the layers of an INT8 model in order; changes made to a layer take effect for all that follow.

    Args:
        model: INT8; changed where layers are.
        samples: arrays by input name, read anew for each layer.
        threads: None: as many as there are cores.
        budget: ends the walk.
        names: layers at which it stops; None: all. Those between run together.

    Raises:
        BudgetExceeded: the budget ended; so do a layer's inputs and outputs.
    """
    budget = budget or TimeBudget()
    compute = [n for n in model.graph if n.op_type not in CONVERSIONS]
    states = list(_entered(model, budget.watch(samples), set(compute), threads))
    pending: list[ir.Node] = []
    for index, node in enumerate(compute):
        if node.op_type in LAYERS and (names is None or node.name in names) and _has_integers(node):
            advance = _Advance(model, pending, set(compute[index:]))
            deque(mapped(advance, budget.watch(states), threads), maxlen=0)
            pending = []
            yield Layer(model, node, states, threads, budget)
        pending.append(node)


def layers_at_once(
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    threads: int | None = None,
    budget: TimeBudget | None = None,
    wanted: Collection[str] | None = None,
) -> Iterator[Layer] | None:
    """The layers in order with what reaches them now: changes of a layer do not show in the inputs of others.

    One run of the model a sample, where :func:`walk_layers` runs it piece by piece. None where the codes of all layers
    would take too much memory.

    Args:
        model: INT8.
        samples: arrays by input name.
        threads: None: as many as there are cores.
        budget: ends the reading, and a layer's inputs and outputs.
        wanted: names of the layers; None: all.

    Raises:
        BudgetExceeded: the budget ended.
    """
    budget = budget or TimeBudget()
    layers = [layer for layer in layers_of(model) if wanted is None or layer.name in wanted]
    codes = list(dict.fromkeys(layer.initializer(0) for layer in layers))
    most = _HELD // max(sum(prod(static_dims(v.shape or ir.Shape([]))) for v in codes), 1)
    if not codes or any(v.producer() is None for v in codes):
        return None
    session = Session(model, [v.name or "" for v in codes], threads=1)
    states: list[Codes] = []
    for state in mapped(session.run_on, budget.watch(samples), threads):
        if len(states) == most:
            return None
        states.append(state)
    return (Layer(model, layer.node, states, threads, budget) for layer in layers)


def _entered(
    model: ir.Model, samples: Iterable[Mapping[str, NDArray[Any]]], later: set[ir.Node], threads: int | None
) -> Iterator[Codes]:
    """The codes of each sample's inputs; the samples themselves are not kept."""
    entry = [n for n in model.graph if n.op_type == "QuantizeLinear" and n.inputs[0] in set(model.graph.inputs)]
    advance = _Advance(model, entry, later)

    def enter(sample: Mapping[str, NDArray[Any]]) -> Codes:
        state = dict(sample)
        advance(state)
        return state

    yield from mapped(enter, samples, threads)


def _has_integers(node: ir.Node) -> bool:
    producers = [v.producer() for v in node.inputs if v is not None]
    whole = len(producers) == 3 and all(p is not None and p.op_type == "DequantizeLinear" for p in producers)
    return whole and all(p.inputs[0].const_value is not None for p in producers[1:])  # type: ignore[union-attr]


class _Advance:
    """Runs some nodes on a sample's state; keeps the codes that later nodes read and forgets the others."""

    def __init__(self, model: ir.Model, nodes: list[ir.Node], later: set[ir.Node]) -> None:
        quantizers = [u for n in nodes for v in n.outputs for u in v.consumers() if u.op_type == "QuantizeLinear"]
        body = [n for n in nodes if n.op_type != "QuantizeLinear"]
        entry = [n for n in nodes if n.op_type == "QuantizeLinear"]
        stage = [*_dequantizers(body), *entry, *body, *quantizers]
        made = {v for n in stage for v in n.outputs}
        wanted = _read_by(later)
        outputs = [v for v in made if v in wanted]
        read = {v for n in stage for v in n.inputs if v is not None and v.const_value is None} - made
        self._kept = {v.name or "" for v in wanted}
        self._session: Session | None = None
        if outputs:
            part = cut(model, _in_order(stage), sorted(read, key=lambda v: v.name or ""), outputs)
            self._session = Session(part, threads=1, last_use=True)

    def __call__(self, state: Codes) -> None:
        if self._session is not None:
            state.update(self._session.run_on(state))
        for name in [n for n in state if n not in self._kept]:
            del state[name]


def _read_by(nodes: set[ir.Node]) -> set[ir.Value]:
    """Values that the nodes read, seen through their dequantizers."""
    sources: set[ir.Value] = set()
    for node in nodes:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer.op_type == "DequantizeLinear" and producer.inputs[0] is not None:
                sources.add(producer.inputs[0])
            elif value is not None:
                sources.add(value)
    return sources


def _dequantizers(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    found: dict[ir.Node, None] = {}
    for node in nodes:
        for value in node.inputs:
            producer = value.producer() if value is not None else None
            if producer is not None and producer.op_type == "DequantizeLinear":
                found[producer] = None
    return list(found)


def _in_order(nodes: Sequence[ir.Node]) -> list[ir.Node]:
    """Sort nodes so that each comes after those it reads."""
    left, done = set(nodes), dict[ir.Node, None]()
    for node in nodes:
        ahead = [node]
        while ahead:
            unread = [p for v in ahead[-1].inputs if v is not None and (p := v.producer()) in left and p not in done]
            if unread and ahead[-1] not in done:
                ahead += unread
            else:
                done[ahead.pop()] = None
    return list(done)


def _number(value: ir.Value) -> float:
    assert value.const_value is not None
    return float(value.const_value.numpy())
