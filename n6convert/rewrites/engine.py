"""Runs rules to a fixpoint, proves every application on samples, and weighs rules by predicted time.

A single step often looks worse than what it leads to (a Linear becomes a Conv between two transposes, and only the
next Linear cancels them). So time is judged on whole results: all rules run, then each is left out in turn. A rule
without which the graph would be faster is dropped and says so; the others' gain is that difference.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import RewriteError
from n6convert.graph.builder import Builder
from n6convert.graph.order import order_for_memory
from n6convert.graph.query import shape_of
from n6convert.rewrites.batch_axis import batch_cut, cuts_batch
from n6convert.rewrites.node_replacement import around, swap_outputs
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.trial import Applied, Checkpoint, Refused, Run, copied
from n6convert.types import Progress

__all__ = ["run_rules"]

_MAX_SWEEPS = 5000
_MARKED_NODES = 2000  # copies of larger graphs cost more than they save
_TOGETHER = 8  # rules that are proven together at first


def run_rules(
    model: ir.Model,
    rules: Sequence[Rewrite[Any]],
    context: Context,
    proof: Proof,
    tolerance: float | None,
    progress: Progress | None = None,
    resume: Checkpoint | None = None,
) -> Run:
    """Run rules on a copy of a model until nothing changes.

    Args:
        model: float graph with static shapes; left as it is.
        rules: in the order in which they are tried; after a change the first is tried again.
        context: target and approximations; its ``values`` are bound to the graph as it changes.
        proof: reference answers on samples.
        tolerance: largest difference for exact rules; None skips the proof (trial runs).
        progress: called with the rule's name, sweeps done and None.
        resume: go on from there instead of the model; ``rules`` are those of that run without some.

    Raises:
        RewriteError: the rules do not converge.
    """
    run = Run(model.clone())
    if resume is not None:
        run = copied(resume.run)
        run.checkpoints.append(resume)
    sweep = _Sweep(run, context, proof, tolerance, Counter() if resume is None else Counter(resume.names))
    position, changed = (0, False) if resume is None else _turn(rules, resume)
    thorough = False
    sweep.keep &= resume is None
    for done in range(_MAX_SWEEPS):
        if sweep.back is not None:
            (position, changed), thorough, sweep.back = _turn(rules, sweep.back), False, None
        if changed and (position == len(rules) or rules[position].late):
            position, changed, thorough = 0, False, False
            continue
        if position == len(rules):
            if thorough:
                if not sweep.settle():
                    continue
                sweep.sort()
                order_for_memory(run.model.graph)
                return run
            sweep.forget()
            position, thorough = 0, True
            continue
        if progress is not None:
            progress(rules[position].name, done, None)
        sweep.state = frozenset(r.name for r in rules[:position]), changed
        changed |= sweep(rules[position])
        position += 1
    last = run.applied[-1]
    raise RewriteError("the rewrites do not converge", place=last.place, found=f"{last.rule} keeps changing it")


def _turn(rules: Sequence[Rewrite[Any]], state: Checkpoint) -> tuple[int, bool]:
    """Which rule comes next, and whether one before it changed something in this round."""
    return sum(rule.name in state.earlier for rule in rules), state.changed


class _Sweep:
    """One rule over all nodes; what rules change is proven together and, when that fails, in smaller and smaller parts.

    A proof takes longer than most rules. So as long as proofs hold, each is of twice as many rules as the one before.
    When one fails, the graph is the last proven one again, from which half as many are proven together; of one rule
    alone it is the same with its applications. What is left is one that is refused.

    A rule looks again only at nodes near which something changed since it last looked, until :meth:`forget`.

    Attributes:
        back: the state that the graph is in again, to go on from.
    """

    def __init__(self, run: Run, context: Context, proof: Proof, tolerance: float | None, names: Counter[str]) -> None:
        self.run, self.context, self.proof, self.tolerance = run, context, proof, tolerance
        self.keep = tolerance is None
        self.state: tuple[frozenset[str], bool] = frozenset(), False
        self.back: Checkpoint | None = None
        self._open: list[Rewrite[Any]] = []
        """rules that changed the graph since it was proven"""
        self._together = _TOGETHER
        """as many of them are proven together"""
        self._safe: Checkpoint | None = None
        """the proven state, from before the first of them changed it"""
        self._begun: set[str] = set()
        self._skip: set[tuple[str, str]] = set()
        self._names = names
        self._clock = 0
        self._touched: dict[ir.Node, int] = {}
        self._looked: dict[str, int] = {}
        self._by_type: tuple[int, dict[str, list[tuple[int, ir.Node]]]] = -1, {}
        self._sorted = True
        self._cuts = sum(map(cuts_batch, run.model.graph))
        self._why = ""
        self._known: tuple[ir.Model, int] | None = None
        """the graph whose arrays the context has, and its state"""

    def __call__(self, rule: Rewrite[Any]) -> bool:
        if not rule.exact and not self.settle():
            return False
        applied = self._apply(rule)
        self.run.applied.extend(applied)
        if applied and self.tolerance is not None:
            self._open.append(rule)
            if len(self._open) >= self._together or not rule.exact:
                self.settle()
        return bool(applied)

    def settle(self) -> bool:
        """Whether all that has changed is proven; if not, :attr:`back` is the state that is again."""
        rules, safe = self._open, self._safe
        if safe is None or not rules:
            return True
        if proven := self._proven(rules[-1]):
            self._together *= 2
        else:
            self._together = max(len(rules) // 2, 1)
            self._restore(safe.run.model)
            self._names = safe.names
            self.run.applied, self.run.refused, self.run.options = safe.run.applied, safe.run.refused, safe.run.options
            kept = self._in_parts(rules[0]) if len(rules) == 1 else []
            self.run.applied.extend(kept)
            self.back = replace(safe, changed=safe.changed or bool(kept))
        self._open, self._safe = [], None
        return proven

    def forget(self) -> None:
        """Let every rule look at every node once more."""
        self._looked.clear()

    def sort(self) -> None:
        """Bring the nodes into an order in which every value is made before it is read."""
        if not self._sorted:
            self.run.model.graph.sort()
            self._sorted = True

    def _restore(self, model: ir.Model) -> None:
        self.run.model = model
        self._touched.clear()
        self._by_type = -1, {}
        self.forget()

    def _in_parts(self, rule: Rewrite[Any]) -> list[Applied]:
        """Apply a rule where that holds; the other places are refused."""
        kept: list[Applied] = []
        together = 1
        for _ in range(_MAX_SWEEPS):
            before = self.run.model.clone()
            self._looked.pop(rule.name, None)
            part = self._apply(rule, limit=together)
            if not part:
                break
            if self._proven(rule):
                kept += part
                together *= 2
                continue
            self._restore(before)
            together = max(len(part) // 2, 1)
            if len(part) == 1:
                self._skip.add((rule.name, part[0].place))
                self._refuse(rule, part[0].place, self._why)
        return kept

    def _proven(self, rule: Rewrite[Any]) -> bool:
        assert self.tolerance is not None
        cuts = sum(map(cuts_batch, self.run.model.graph))
        if cuts > self._cuts:
            self._why = "it would cut the batch"
            return False
        self.run.difference = self.proof.difference(self.run.model)
        self._why = f"the outputs would differ by {self.run.difference:.2g} of their range"
        if self.run.difference > (self.tolerance if rule.exact else rule.tolerance):
            return False
        if not rule.exact:
            self.proof.accept(self.run.model)
        self._cuts = cuts
        return True

    def _apply(self, rule: Rewrite[Any], limit: int | None = None) -> list[Applied]:
        if self._known != (self.run.model, self._clock):
            self.context.values = _Values(self.run.model, self.proof, self.sort)
            self._known = self.run.model, self._clock
        applied: list[Applied] = []
        for node in self._candidates(rule):
            if node.graph is None or self._skip and (rule.name, _place(node)) in self._skip:
                continue
            done = self._try(rule, node)
            if done is not None:
                applied.append(done)
                if len(applied) == limit:
                    break
        if self.tolerance is not None:
            self.sort()
        return applied

    def _candidates(self, rule: Rewrite[Any]) -> list[ir.Node]:
        last = self._looked.get(rule.name, -1)
        self._looked[rule.name] = self._clock
        if self._by_type[0] != self._clock:
            groups: dict[str, list[tuple[int, ir.Node]]] = defaultdict(list)
            for position, node in enumerate(self.run.model.graph):
                if node.domain in ("", "ai.onnx"):
                    groups[node.op_type].append((position, node))
            self._by_type = self._clock, groups
        of_kind = sorted(pair for op in rule.roots for pair in self._by_type[1].get(op, ()))
        return [node for _, node in of_kind if self._touched.get(node, 0) > last]

    def _try(self, rule: Rewrite[Any], node: ir.Node) -> Applied | None:
        found = rule.pattern(node)
        if found is None:
            return None
        place = _place(node)
        reason = rule.check(found, self.context)
        if reason is not None:
            self._refuse(rule, place, reason)
            return None
        graph = self.run.model.graph
        if self.tolerance is not None and self._safe is None:
            self._safe = self._state()
        if self.keep and rule.name not in self._begun:
            self._mark()
            self._begun.add(rule.name)
        for kind, forms in rule.options(found, self.context).items():
            if len(forms) > 1:
                self.run.options[rule.name, kind] = tuple(forms)
        build = Builder(graph, self._prefix(node, rule), graph.opset_imports.get("", 17))
        done = Applied(rule.name, place, rule.exact, rule.because(found, self.context))
        try:
            values = rule.replace(found, build, self.context)
        except ArithmeticError as error:
            build.discard()
            self._refuse(rule, place, f"its constants lead to {str(error) or type(error).__name__}")
            return None
        if values is not None and list(values) == list(node.outputs):
            return None
        reason = batch_cut(build.nodes) if values is not None and not cuts_batch(node) else None
        if values is not None and any(v.uses() or v.is_graph_output() for v in node.outputs[len(values) :]):
            reason = "a further result of it is read, beside the one that the rule gives"
        if reason is not None:
            build.discard()
            self._refuse(rule, place, reason)
            return None
        near = around(node)
        graph.insert_before(node, build.nodes)
        if values is not None:
            swap_outputs(graph, node, values)
        self._clock += 1
        self._sorted = False
        self._touched.update(dict.fromkeys([*near, *build.nodes], self._clock))
        self.run.refused.pop((rule.name, place), None)
        return done

    def _mark(self) -> None:
        """Keep the state, so that runs without the rule at work need not start over."""
        if self.run.model.graph.num_nodes() <= _MARKED_NODES:
            self.run.checkpoints.append(self._state())

    def _state(self) -> Checkpoint:
        """A copy of where the run is."""
        self.sort()
        return Checkpoint(copied(self.run), Counter(self._names), *self.state, frozenset(self._begun))

    def _prefix(self, node: ir.Node, rule: Rewrite[Any]) -> str:
        named = next(v.name for v in node.outputs if v.name)  # an optional output may be left out
        base = f"{named.split('/~')[0]}/~{rule.name}"
        self._names[base] += 1
        return base if self._names[base] == 1 else f"{base}~{self._names[base]}"

    def _refuse(self, rule: Rewrite[Any], place: str, reason: str) -> None:
        self.run.refused[rule.name, place] = Refused(rule.name, place, reason)


class _Values:
    """Arrays of tensors on the samples; all tensors of the shapes that are asked for are computed together."""

    def __init__(self, model: ir.Model, proof: Proof, sort: Callable[[], None]) -> None:
        self._model, self._proof, self._sort = model, proof, sort
        self._held: dict[str, list[NDArray[Any]]] = {}

    def __call__(self, value: ir.Value, *others: ir.Value) -> list[NDArray[Any]]:
        wanted = [v for v in (value, *others) if str(v.name) not in self._held]
        if wanted:
            self._sort()
            kinds = {(shape_of(v), v.dtype) for v in wanted}
            alike = [v for n in self._model.graph for v in n.outputs if (shape_of(v), v.dtype) in kinds]
            names = sorted({str(v.name) for v in (*wanted, *alike)} - self._held.keys())
            self._held |= self._proof.values(self._model, names)
        return self._held[str(value.name)]


def _place(node: ir.Node) -> str:
    return str(node.name or node.outputs[0].name)
