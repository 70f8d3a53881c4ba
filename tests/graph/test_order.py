"""Order of nodes: executable, never worse than it was, and its memory counted by a second, plainer walk."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, parsed

from n6convert.graph.order import live_elements, order_for_memory
from n6convert.graph.query import elements, shape_of
from n6convert.runtime.session import run_model


def plainly(graph: ir.Graph) -> tuple[int, int]:
    """Peak and sum of what must be held while each node runs, asked anew for each: its outputs and all read later."""
    nodes = list(graph)
    sums = []
    for position in range(len(nodes)):
        made = [v for n in nodes[: position + 1] for v in n.outputs]
        read_now_or_later = {v for n in nodes[position:] for v in n.inputs} | set(graph.outputs)
        now = set(nodes[position].outputs)
        sums.append(sum(elements(shape_of(v) or ()) for v in made if v in read_now_or_later or (v in now and v.uses())))
    return max(sums), sum(sums)


def breadth_first(blocks: int) -> ir.Model:
    """Blocks that widen x and narrow it again, all widened first."""
    lines = [f"a{i} = Concat<axis=1>(x, x, x, x)" for i in range(blocks)]
    lines += [f"b{i} = ReduceMean<axes=[1]>(a{i})" for i in range(blocks)]
    lines.append("y = Concat<axis=1>(" + ", ".join(f"b{i}" for i in range(blocks)) + ")")
    return parsed(" ".join(lines), "float[1,8] x", "float[] y")


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_independent_blocks_run_one_after_the_other(blocks: int) -> None:
    model = breadth_first(blocks)
    feeds = drawn({"x": (1, 8)})
    before, wanted = live_elements(model.graph, list(model.graph)), run_model(model, feeds)["y"]
    assert before == plainly(model.graph) and before[0] >= 32 * blocks
    order_for_memory(model.graph)
    after = live_elements(model.graph, list(model.graph))
    assert after == plainly(model.graph) and after <= before
    assert after[0] <= 32 + blocks or blocks == 1
    np.testing.assert_array_equal(run_model(model, feeds)["y"], wanted)


def test_a_good_order_is_left_alone() -> None:
    model = breadth_first(3)
    order_for_memory(model.graph)
    names = [n.outputs[0].name for n in model.graph]
    order_for_memory(model.graph)
    assert [n.outputs[0].name for n in model.graph] == names


def test_nodes_that_lead_to_no_output_keep_their_place() -> None:
    """Depth first they would be lost; the order stays."""
    model = parsed("a = Relu(x) unread = Neg(x) b = Abs(x) y = Add(a, b)", "float[4] x", "float[] y")
    order_for_memory(model.graph)
    assert [n.op_type for n in model.graph] == ["Relu", "Neg", "Abs", "Add"]


def test_views_share_the_memory_of_their_source() -> None:
    shape = np.array([2, 4], np.int64)
    viewed = parsed("a = Relu(x) v = Reshape(a, s) w = Identity(v) y = Neg(w)", "float[8] x", "float[] y", s=shape)
    copied = parsed("a = Relu(x) v = Abs(a) w = Abs(v) y = Neg(w)", "float[8] x", "float[] y")
    assert (
        live_elements(viewed.graph, list(viewed.graph))[0] == 16 == live_elements(copied.graph, list(copied.graph))[0]
    )
    assert live_elements(viewed.graph, list(viewed.graph))[1] == 8 + 8 + 8 + 16
    assert live_elements(copied.graph, list(copied.graph))[1] == 8 + 16 + 16 + 16
