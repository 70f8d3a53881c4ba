"""No rewrite joins or cuts along the batch, whatever it moves: states of recurrent networks, stacked and unstacked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.builder import Builder
from n6convert.rewrites import Context, Rewrite, RewriteConfig, rewrite
from n6convert.rewrites.batch_axis import cuts_batch
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import apply, reasons, sample


def cuts(model: ir.Model) -> list[str]:
    return [f"{n.op_type} {n.name}" for n in model.graph if cuts_batch(n)]


def everything(model: ir.Model) -> ir.Model:
    """The model behind all rules, the same function still."""
    result = rewrite(model, lambda: [sample(model)], RewriteConfig(), threads=1)
    others = sample(model, seed=1)
    before, after = run_model(model, others, threads=1), run_model(result.model, others, threads=1)
    assert max(max_relative_difference(before[k], after[k]) for k in before) < 1e-4
    return result.model


def expanded(g: GraphWriter, x: str, axis: int, shape: list[int], how: str) -> str:
    to = [*shape[:axis], 1, *shape[axis:]]
    if how == "Unsqueeze":
        return str(g.node("Unsqueeze", x, g.constant([axis], np.int64)))
    return g.reshape(x, to)


def state(g: GraphWriter, x: str, size: int) -> str:
    return str(g.node(str(g.random.choice(["Tanh", "Relu", "Sigmoid"])), g.node("MatMul", x, g.weight(size, size))))


def stacked(seed: int) -> ir.Model:
    """States [1, n] or [1, k, n] stacked on an axis, unstacked again, in the spellings of exporters."""
    g = GraphWriter(seed)
    size, count = 8, int(g.random.integers(2, 5))
    shape = [1, size] if seed % 3 else [1, 3, size]
    axis = int(g.random.integers(0 if seed % 4 == 3 else 1, len(shape) + 1))
    how = str(g.random.choice(["Unsqueeze", "Reshape"]))
    states = [state(g, g.input(f"x{i}", shape), size) for i in range(count)]
    whole = g.node("Concat", *(expanded(g, s, axis, shape, how) for s in states), axis=axis)
    if seed % 4 == 0:
        return g.model(whole)
    if seed % 4 == 1:
        parts = g.node("Split", g.node("Neg", whole), g.constant([1] * count, np.int64), outputs=count, axis=axis)
        parts = [g.node("Squeeze", p, g.constant([axis], np.int64)) for p in parts]
    else:
        parts = [g.node("Gather", whole, g.constant(i, np.int64), axis=axis) for i in range(count)]
    rest = [state(g, p, size) for p in parts]
    again = g.node("Concat", *(expanded(g, s, 1, shape, "Reshape") for s in rest), axis=1)
    turned = g.node("Transpose", again, perm=[0, *range(len(shape), 0, -1)])
    return g.model(turned, rest[0])


@pytest.mark.parametrize("seed", range(16))
def test_stacked_states(seed: int) -> None:
    assert cuts(everything(stacked(seed))) == []


@pytest.mark.parametrize("shape", [[1, 16], [1, 3, 16], [2, 1, 16], [1, 16, 4, 4]])
@pytest.mark.parametrize("kind", ["Concat", "Split", "Slice", "Gather"])
def test_cuts_along_the_batch_in_the_file_itself(kind: str, shape: list[int]) -> None:
    g = GraphWriter()
    x, y = (g.node("Relu", g.input(name, shape)) for name in "xy")
    whole = g.node("Neg", g.node("Concat", x, y, axis=0))
    if kind == "Concat":
        outputs = [whole]
    elif kind == "Split":
        outputs = g.node("Split", whole, g.constant([shape[0]] * 2, np.int64), outputs=2, axis=0)
    elif kind == "Slice":
        outputs = [g.node("Slice", whole, *(g.constant([n], np.int64) for n in (-shape[0], 2 * shape[0], 0)))]
    else:
        outputs = [g.node("Gather", whole, g.constant([1], np.int64), axis=0)]
    assert cuts(everything(g.model(*(g.node("Exp", o) for o in outputs)))) == []


class _Mover(Rewrite[ir.Node]):
    """Joins along the batch what stood on the second axis."""

    name = "mover"
    roots = frozenset({"Concat"})

    def pattern(self, node: ir.Node) -> ir.Node | None:
        return node if node.attributes.get_int("axis", 0) == 1 else None

    def replace(self, found: ir.Node, build: Builder, context: Context) -> Sequence[ir.Value] | None:
        x, y = (v for v in found.inputs if v is not None)
        rows = [build.reshape(v, [1, 16]) for v in (x, y)]
        joined = build.node("Concat", rows, [[2, 16]], axis=0)[0]
        return [build.reshape(joined, [1, 2, 16])]


class _InPlace(_Mover):
    """Does so to the node itself."""

    name = "in-place"

    def replace(self, found: ir.Node, build: Builder, context: Context) -> None:
        found.attributes["axis"] = ir.AttrInt64("axis", 0)


def stack_and_read() -> ir.Model:
    g = GraphWriter()
    x, y = (g.node("Relu", g.input(name, [1, 1, 16])) for name in "xy")
    return g.model(g.node("Exp", g.node("Concat", x, y, axis=1)))


@pytest.mark.parametrize("rule", [_Mover(), _InPlace()])
def test_the_engine_refuses_a_rule_that_cuts_the_batch(rule: _Mover) -> None:
    model = stack_and_read()
    config = RewriteConfig(rules=[rule.name], exclude=["concat-off-batch"])  # which would repair it
    result = rewrite(model, lambda: [sample(model)], config, extra=[rule], threads=1)
    assert not result.applied and "cut the batch" in reasons(result, rule.name)
    assert [n.op_type for n in result.model.graph] == [n.op_type for n in model.graph]
    assert set(result.model.graph.initializers) == set(model.graph.initializers)


def test_layout_changes_stay_in_front_of_stacked_states() -> None:
    g = GraphWriter()
    parts = [g.reshape(g.node("Tanh", g.input(f"x{i}", [1, 16])), [1, 1, 16]) for i in range(2)]
    result = apply(g.model(g.node("Concat", *parts, axis=1)), "sink-moves")
    assert not result.applied
