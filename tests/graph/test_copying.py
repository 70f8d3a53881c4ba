"""Quick copies of graphs: they compute the same, and changing them leaves the original as it was."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.graph.copying import copied, drop_unused, is_flat
from n6convert.graph.extract import with_outputs
from n6convert.runtime.session import run_model

X = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)


def parsed(text: str) -> ir.Model:
    return ir.from_onnx_text('<ir_version: 8, opset_import: [ "" : 13 ]>\n' + text)


def chain() -> ir.Model:
    return parsed(
        "g (float[1,4] x) => (float[1,4] y) <float[4] w = {3, 3, 3, 3}> { a = Relu(x) b = Mul(a, w) y = Add(b, w) }"
    )


def test_a_copy_computes_the_same_and_is_changed_alone() -> None:
    model = chain()
    before = run_model(model, {"x": X})["y"]
    copy = copied(model)
    assert np.array_equal(run_model(copy, {"x": X})["y"], before)
    copy.graph[0].op_type = "Neg"
    copy.graph.initializers["w"].const_value = ir.tensor(np.zeros((1, 4), np.float32), name="w")
    assert not np.array_equal(run_model(copy, {"x": X})["y"], before)
    assert np.array_equal(run_model(model, {"x": X})["y"], before)


def test_a_part_has_the_nodes_that_its_outputs_need_and_no_others() -> None:
    part = with_outputs(chain(), ["a"])
    assert [n.op_type for n in part.graph] == ["Relu"] and not part.graph.initializers
    assert np.array_equal(run_model(part, {"x": X})["a"], np.maximum(X, 0))


def test_graphs_inside_nodes_are_copied_whole() -> None:
    inner = """g (float[1,4] x, bool c) => (float[1,4] y) {
      a = Relu(x)
      y = If <then_branch = t () => (float[1,4] p) { p = Neg(a) },
              else_branch = e () => (float[1,4] q) { q = Identity(a) }> (c)
    }"""
    model = parsed(inner)
    assert not is_flat(model)
    feeds = {"x": X, "c": np.array(True)}
    assert np.array_equal(run_model(copied(model), feeds)["y"], -np.maximum(X, 0))


def test_chains_that_nobody_reads_leave_with_their_constants() -> None:
    model = chain()
    model.graph.outputs.clear()
    model.graph.outputs.append(model.graph[0].outputs[0])
    drop_unused(model.graph)
    assert [n.op_type for n in model.graph] == ["Relu"] and not model.graph.initializers
