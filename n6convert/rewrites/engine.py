"""Runs rules to a fixpoint, proves every application on samples, and weighs rules by predicted time.

A single step often looks worse than what it leads to (a Linear becomes a Conv between two transposes, and only the
next Linear cancels them). So time is judged on whole results: all rules run, then each is left out in turn. A rule
without which the graph would be faster is dropped and says so; the others' gain is that difference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import RewriteError
from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.build import Builder
from n6convert.rewrites.graph import shape_of
from n6convert.rewrites.ordering import order_for_memory
from n6convert.rewrites.proof import Proof

__all__ = ["Applied", "Refused", "Run", "run_rules"]

Progress = Callable[[str, int, int | None], None]
_MAX_SWEEPS = 5000


@dataclass(frozen=True)
class Applied:
    """One application: rule, the node it replaced, and the values it made."""

    rule: str
    place: str
    exact: bool = True


@dataclass(frozen=True)
class Refused:
    """A place where a rule's pattern was found but the rule did not run."""

    rule: str
    place: str
    reason: str


@dataclass
class Run:
    """What one run of a set of rules to the fixpoint gave."""

    model: ir.Model
    applied: list[Applied] = field(default_factory=list)
    refused: dict[tuple[str, str], Refused] = field(default_factory=dict)
    difference: float = 0.0


def run_rules(
    model: ir.Model,
    rules: Sequence[Rewrite[Any]],
    context: Context,
    proof: Proof,
    tolerance: float | None,
    progress: Progress | None = None,
) -> Run:
    """Run rules on a copy of a model until nothing changes.

    Args:
        model: float graph with static shapes; left as it is.
        rules: in the order in which they are tried; after a change the first is tried again.
        context: target and approximations; its ``values`` are bound to the graph as it changes.
        proof: reference answers on samples.
        tolerance: largest difference for exact rules; None skips the proof (trial runs).
        progress: called with the rule's name, rounds done and None.

    Raises:
        RewriteError: the rules do not come to rest.
    """
    run = Run(model.clone())
    sweep = _Sweep(run, context, proof, tolerance)
    position, changed = 0, False
    for done in range(_MAX_SWEEPS):
        if changed and (position == len(rules) or rules[position].late):
            position, changed = 0, False
            continue
        if position == len(rules):
            order_for_memory(run.model.graph)
            return run
        if progress is not None:
            progress(rules[position].name, done, None)
        changed |= sweep(rules[position])
        position += 1
    last = run.applied[-1]
    raise RewriteError("the rewrites do not come to rest", place=last.place, found=f"{last.rule} keeps changing it")


class _Sweep:
    """One rule over all nodes, proven as a whole and, when that fails, one application at a time."""

    def __init__(self, run: Run, context: Context, proof: Proof, tolerance: float | None) -> None:
        self.run, self.context, self.proof, self.tolerance = run, context, proof, tolerance
        self._skip: set[tuple[str, str]] = set()
        self._names: Counter[str] = Counter()

    def __call__(self, rule: Rewrite[Any]) -> bool:
        before = self.run.model.clone() if self.tolerance is not None else None
        applied = self._apply(rule)
        if applied and before is not None and not self._proven(rule):
            self.run.model = before
            applied = self._one_by_one(rule)
        self.run.applied.extend(applied)
        return bool(applied)

    def _one_by_one(self, rule: Rewrite[Any]) -> list[Applied]:
        kept: list[Applied] = []
        while True:
            before = self.run.model.clone()
            step = self._apply(rule, limit=1)
            if not step:
                return kept
            if self._proven(rule):
                kept += step
                continue
            self.run.model = before
            self._skip.add((rule.name, step[0].place))
            self._refuse(rule, step[0].place, f"the outputs would differ by {self.run.difference:.2g} of their range")

    def _proven(self, rule: Rewrite[Any]) -> bool:
        assert self.tolerance is not None
        self.run.difference = self.proof.difference(self.run.model)
        if self.run.difference > (self.tolerance if rule.exact else rule.tolerance):
            return False
        if not rule.exact:
            self.proof.accept(self.run.model)
        return True

    def _apply(self, rule: Rewrite[Any], limit: int | None = None) -> list[Applied]:
        graph = self.run.model.graph
        self.context.values = _Values(self.run.model, self.proof)
        applied: list[Applied] = []
        for node in list(graph):
            if node.graph is None or node.op_type not in rule.roots or node.domain not in ("", "ai.onnx"):
                continue
            if (rule.name, _place(node)) not in self._skip and self._try(rule, node):
                applied.append(Applied(rule.name, _place(node), rule.exact))
                if len(applied) == limit:
                    break
        if applied:
            graph.sort()
        return applied

    def _try(self, rule: Rewrite[Any], node: ir.Node) -> bool:
        found = rule.pattern(node)
        if found is None:
            return False
        reason = rule.check(found, self.context)
        if reason is not None:
            self._refuse(rule, _place(node), reason)
            return False
        graph = self.run.model.graph
        build = Builder(graph, self._prefix(node, rule), graph.opset_imports.get("", 17))
        values = rule.replace(found, build, self.context)
        graph.insert_before(node, build.nodes)
        if list(values) == list(node.outputs):
            return False
        _swap_outputs(graph, node, values)
        self.run.refused.pop((rule.name, _place(node)), None)
        return True

    def _prefix(self, node: ir.Node, rule: Rewrite[Any]) -> str:
        base = f"{str(node.outputs[0].name).split('/~')[0]}/~{rule.name}"
        self._names[base] += 1
        return base if self._names[base] == 1 else f"{base}~{self._names[base]}"

    def _refuse(self, rule: Rewrite[Any], place: str, reason: str) -> None:
        self.run.refused[rule.name, place] = Refused(rule.name, place, reason)


class _Values:
    """Arrays of tensors on the samples; all tensors of one shape are computed together."""

    def __init__(self, model: ir.Model, proof: Proof) -> None:
        self._model, self._proof = model, proof
        self._held: dict[str, list[NDArray[Any]]] = {}

    def __call__(self, value: ir.Value) -> list[NDArray[Any]]:
        name = str(value.name)
        if name not in self._held:
            alike = [v for n in self._model.graph for v in n.outputs if shape_of(v) == shape_of(value)]
            names = sorted({name, *(str(v.name) for v in alike if v.dtype == value.dtype)} - self._held.keys())
            self._held |= self._proof.values(self._model, names)
        return self._held[name]


def _swap_outputs(graph: ir.Graph, node: ir.Node, values: Sequence[ir.Value]) -> None:
    for old, new in zip(node.outputs, values, strict=True):
        if old.is_graph_output():
            new = _own_value(graph, node, new)
            old_name, old.name = old.name, f"{old.name}.replaced"
            old.replace_all_uses_with(new, replace_graph_outputs=True)
            new.name = old_name
        else:
            old.replace_all_uses_with(new)
    _remove_dead(graph, node)


def _own_value(graph: ir.Graph, node: ir.Node, value: ir.Value) -> ir.Value:
    """A value that may take a graph output's name: not an input, a constant or another output."""
    if value.producer() is not None and not value.is_graph_output():
        return value
    copy = ir.node("Identity", [value])
    copy.outputs[0].shape, copy.outputs[0].type = value.shape, value.type
    graph.insert_before(node, copy)
    return copy.outputs[0]


def _remove_dead(graph: ir.Graph, node: ir.Node) -> None:
    if node.graph is None or any(v.is_graph_output() or v.uses() for v in node.outputs):
        return
    sources = [v for v in node.inputs if v is not None]
    graph.remove(node, safe=True)
    for value in sources:
        maker = value.producer()
        if maker is not None:
            _remove_dead(graph, maker)
        elif value.is_initializer() and not value.uses() and not value.is_graph_output():
            graph.initializers.pop(str(value.name), None)


def _place(node: ir.Node) -> str:
    return str(node.name or node.outputs[0].name)
