"""Walks over graphs that are deep, or whose values are read many times."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.dag import fold, reach
from n6convert.linter import lint
from n6convert.npu.allocation import Buffer, place
from n6convert.npu.targets import load_target
from n6convert.runtime.comparison import least_sizes

DOUBLING = 40


def test_every_item_is_visited_once_in_order_of_depth() -> None:
    steps = {"a": "bc", "b": "de", "c": "e", "d": "", "e": ""}
    assert "".join(reach("a", steps.__getitem__)) == "abdec"


def test_folding_counts_shared_parts_once() -> None:
    calls: list[int] = []

    def combine(item: int, inner: list[int]) -> int:
        calls.append(item)
        return sum(inner) or 1

    assert fold(DOUBLING, lambda n: [n - 1, n - 1] if n else [], combine, {}) == 1 << DOUBLING
    assert calls == list(range(DOUBLING + 1))


@pytest.fixture
def joined() -> ir.Model:
    """The two halves of a tensor joined to the whole again, 40 times, behind a Sigmoid."""
    x = ir.val("x", ir.DataType.FLOAT, [1, 4, 2, 2])
    nodes = [ir.node("Sigmoid", [x], name="first")]
    half = ir.val("half", const_value=ir.tensor(np.array([2, 2]), name="half"))
    for index in range(DOUBLING):
        parts = ir.node("Split", [nodes[-1].outputs[0], half], {"axis": 1}, num_outputs=2, name=f"split{index}")
        nodes += [parts, ir.node("Concat", parts.outputs, {"axis": 1}, name=f"join{index}")]
    last = nodes[-1].outputs[0]
    last.name = "y"
    graph = ir.Graph([x], [last], nodes=nodes, initializers=[half], opset_imports={"": 17}, name="g")
    return ir.Model(graph, ir_version=8)


def test_questions_about_joined_halves_take_no_2_to_the_40_steps(joined: ir.Model) -> None:
    assert not [f for f in lint(joined) if f.rule == "mixed-scales"]
    for node in joined.graph:  # the operators that least_sizes sees through
        node.op_type = "Concat" if node.op_type == "Split" else node.op_type
        if node.op_type == "Concat" and node.name.startswith("split"):
            node.replace_input_with(1, node.inputs[0])
    assert set(least_sizes(joined)) == {"y"}


def test_buffers_of_one_life_lie_behind_each_other() -> None:
    pools = load_target("stm32n6570-dk@4.0").pools
    buffers = [Buffer(f"b{i}", 100, 0, 5) for i in range(2000)]
    assert place(buffers, pools) == []
    spans = sorted((b.address, b.end) for b in buffers)
    assert all(after[0] >= before[1] for before, after in zip(spans, spans[1:], strict=False))
    gap = Buffer("late", 100, 6, 7)
    assert place([*buffers, gap], pools) == [] and gap.address == min(b.address for b in buffers)
