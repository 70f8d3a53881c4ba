"""Loop and Scan with a known number of turns, written out: the body once for every turn.

Keras cells reach ONNX as Loops whose condition compares a counter with the number of steps, PyTorch's scripted ones as
Loops over a constant. What a turn computes from constants alone (counters, indices, conditions) is computed here, so
that the number of turns is known and every turn reads its own step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import GraphError, RewriteError
from n6convert.graph.operators import LOOPS
from n6convert.graph.query import attribute, constant_of, shape_of
from n6convert.graph.refusals import refuse_loops
from n6convert.rewrites.prepare import prepare
from n6convert.rewrites.proof import Proof

__all__ = ["MOST_TURNS", "write_out_loops"]

#: a turn of a recurrent cell is about seven epochs
MOST_TURNS = 128

Array = NDArray[Any]
_TOLERANCE = 1e-4


def write_out_loops(model: ir.Model, most_turns: int = MOST_TURNS) -> ir.Model:
    """A prepared copy without Loop and Scan, proven equal; the model itself where it has none.

    Nothing runs before the number of turns is known.

    Raises:
        GraphError: the number of turns is not known, or above ``most_turns``.
        RewriteError: the result answers differently.
    """
    if _first(model) is None:
        return model
    written = start = prepare(model)
    while _first(written) is not None:
        written = written.clone()
        node = _first(written)
        assert node is not None
        _Turns(written.graph, node, most_turns).write()
        written = prepare(written)
    refuse_loops(written)
    difference = Proof(start, None).difference(written)
    if difference > _TOLERANCE:
        raise RewriteError("a loop that is written out answers differently", limit=_TOLERANCE, found=difference)
    return written


def _first(model: ir.Model) -> ir.Node | None:
    return next((n for n in model.graph if n.op_type in LOOPS and n.domain in ("", "ai.onnx")), None)


@dataclass
class _Turns:
    graph: ir.Graph
    node: ir.Node
    most: int
    nodes: list[ir.Node] = field(default_factory=list)
    evaluators: dict[ir.Node, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.body = self.node.attributes["body"].as_graph()
        if any(a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for n in self.body for a in _given(n)):
            raise self._refusal("its body holds another Loop, Scan or If")
        for name, value in list(self.body.initializers.items()):
            self.body.initializers.pop(name)
            value.name = f"{self.node.name}/{name}"
            self.graph.register_initializer(value)

    def write(self) -> None:
        """Put the turns in place of the node."""
        outputs = self._loop() if self.node.op_type == "Loop" else self._scan()
        self.graph.insert_before(self.node, self.nodes)
        for old, new in zip(self.node.outputs, outputs, strict=True):
            if old.is_graph_output():
                new = self._node("Identity", [new])
                self.graph.insert_before(self.node, self.nodes[-1])
                name, old.name = old.name, f"{old.name}_old"
                new.name = name
            old.replace_all_uses_with(new, replace_graph_outputs=True)
        self.graph.remove(self.node, safe=True)

    def _loop(self) -> list[ir.Value]:
        limit, going = (constant_of(v) for v in self.node.inputs[:2])
        if (self.node.inputs[0] is not None and limit is None) or (self.node.inputs[1] is not None and going is None):
            raise self._refusal("how often it turns is computed")
        carried = list(self.node.inputs[2:])
        collected: list[list[ir.Value]] = [[] for _ in self.body.outputs[1 + len(carried) :]]
        turn = 0
        more = going is None or bool(going.item())
        while more and (limit is None or turn < int(limit.item())):
            if turn == self.most:
                raise self._refusal(f"it turns more than {self.most} times")
            counter, condition = self._constant(np.array(turn, np.int64)), self._constant(np.array(True))
            found = self._turn(turn, [counter, condition, *carried])
            turn += 1
            carried[:], new = found[1 : 1 + len(carried)], found[1 + len(carried) :]
            for column, value in zip(collected, new, strict=True):
                column.append(value)
            known = constant_of(found[0])
            if known is None and (limit is None or turn < int(limit.item())):
                raise self._refusal("whether it goes on is computed from the network's values")
            more = known is None or bool(known.item())
        if turn == 0:
            raise self._refusal("it does not turn once")
        return [*self._present(carried), *(self._stacked(column, 0) for column in collected)]

    def _scan(self) -> list[ir.Value]:
        count = attribute(self.node, "num_scan_inputs")
        states, scanned = list(self.node.inputs[:-count]), list(self.node.inputs[-count:])
        axes = attribute(self.node, "scan_input_axes") or [0] * count
        backwards = attribute(self.node, "scan_input_directions") or [0] * count
        sizes = {(shape_of(v) or (0,) * (a + 1))[a] for v, a in zip(scanned, axes, strict=True)}
        if len(sizes) != 1 or 0 in sizes:
            raise self._refusal("the length of what it scans is not known")
        turns = sizes.pop()
        if turns > self.most:
            raise self._refusal(f"it turns {turns} times, more than {self.most}")
        collected: list[list[ir.Value]] = [[] for _ in self.body.outputs[len(states) :]]
        for turn in range(turns):
            places = [turns - 1 - turn if back else turn for back in backwards]
            steps = [self._step(v, a, p) for v, a, p in zip(scanned, axes, places, strict=True)]
            found = self._turn(turn, [*states, *steps])
            states[:] = found[: len(states)]
            for column, value in zip(collected, found[len(states) :], strict=True):
                column.append(value)
        to = attribute(self.node, "scan_output_axes") or [0] * len(collected)
        turned = attribute(self.node, "scan_output_directions") or [0] * len(collected)
        columns = [column[::-1] if back else column for column, back in zip(collected, turned, strict=True)]
        return [*self._present(states), *(self._stacked(c, a) for c, a in zip(columns, to, strict=True))]

    def _turn(self, turn: int, inputs: Sequence[ir.Value | None]) -> list[ir.Value]:
        """One copy of the body; the values of its outputs."""
        known: dict[ir.Value, ir.Value | None] = dict(zip(self.body.inputs, inputs, strict=True))
        for node in self.body:
            given = [known.get(v, v) if v is not None else None for v in node.inputs]
            arrays = [None if v is None else constant_of(v) for v in given]
            if all(a is not None or v is None for a, v in zip(arrays, given, strict=True)):
                known |= zip(node.outputs, map(self._constant, self._computed(node, arrays)), strict=False)
                continue
            copy = ir.Node(
                node.domain, node.op_type, given, list(_given(node)), num_outputs=len(node.outputs),
                name=f"{self.node.name}/{turn}/{node.name or node.outputs[0].name}",
            )  # fmt: skip
            for old, new in zip(node.outputs, copy.outputs, strict=True):
                new.name, new.type = f"{self.node.name}/{turn}/{old.name}" if old.name else "", old.type
                known[old] = new
            self.nodes.append(copy)
        return self._present([known.get(v, v) for v in self.body.outputs])

    def _computed(self, node: ir.Node, arrays: Sequence[Array | None]) -> list[Array]:
        from onnx.reference import ReferenceEvaluator

        if node not in self.evaluators:
            proto = ir.to_proto(node)
            opset = self.graph.opset_imports.get("", 17)
            self.evaluators[node] = ReferenceEvaluator(proto, opsets={"": opset})
        feeds = {v.name: a for v, a in zip(node.inputs, arrays, strict=True) if v is not None}
        return list(self.evaluators[node].run(None, feeds))

    def _step(self, value: ir.Value | None, axis: int, place: int) -> ir.Value:
        return self._node("Gather", [value, self._constant(np.array(place, np.int64))], axis=axis)

    def _stacked(self, column: Sequence[ir.Value], axis: int) -> ir.Value:
        rows = [self._node("Unsqueeze", [v, self._constant(np.array([axis], np.int64))]) for v in column]
        return self._node("Concat", rows, axis=axis)

    def _node(self, op: str, inputs: Sequence[ir.Value | None], **attributes: Any) -> ir.Value:
        name = f"{self.node.name}/{op}{len(self.nodes)}"
        node = ir.node(op, inputs, attributes or None, name=name)
        node.outputs[0].name, node.outputs[0].type = name, None if inputs[0] is None else inputs[0].type
        self.nodes.append(node)
        return node.outputs[0]

    def _constant(self, array: Any) -> ir.Value:
        data = np.asarray(array)
        name = f"{self.node.name}/constant{len(self.graph.initializers)}"
        tensor = ir.tensor(data, name=name)
        value = ir.Value(name=name, type=ir.TensorType(tensor.dtype), shape=ir.Shape(data.shape), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def _present(self, values: Sequence[ir.Value | None]) -> list[ir.Value]:
        return [v for v in values if v is not None]

    def _refusal(self, reason: str) -> GraphError:
        return GraphError(
            "a loop cannot be written out, and the NPU has none",
            place=f"node {self.node.name} ({self.node.op_type})", found=reason,
            limit="a number of turns that is known before the network runs",
            remedy="write it out before export (Keras: `unroll=True`), or export one step with its states as inputs",
        )  # fmt: skip


def _given(node: ir.Node) -> Iterator[ir.Attr]:
    return iter(node.attributes.values())
