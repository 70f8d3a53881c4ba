"""A plugin's own rewrite rule, written with the plugin interface alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper

from n6convert.plugin.rules import Builder, Context, Rewrite, producer, shape_of, single_use
from n6convert.rewrites import RewriteConfig, rewrite


class SquareOfAbs(Rewrite[ir.Value]):
    """Write the product of an absolute value with itself without the absolute value."""

    name = "square-of-abs"
    roots = frozenset({"Mul"})

    def pattern(self, node: ir.Node) -> ir.Value | None:
        first, second = (producer(value, "Abs") for value in node.inputs)
        alone = first is not None and first is second and len(tuple(first.outputs[0].uses())) == 2
        return first.inputs[0] if first is not None and alone else None

    def replace(self, found: ir.Value, build: Builder, context: Context) -> Sequence[ir.Value]:
        return [build.mul(found, found)]


def test_a_rule_of_a_plugin_runs_and_is_proven() -> None:
    nodes = [helper.make_node("Abs", ["x"], ["a"]), helper.make_node("Mul", ["a", "a"], ["y"])]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, 8, 8]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:])
    model = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    result = rewrite(model, None, RewriteConfig(), extra=(SquareOfAbs(),))
    assert [node.op_type for node in result.model.graph] == ["Mul"]
    assert [line["rule"] for line in result.facts()["applied"]] == ["square-of-abs"]
    x = np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 4, 8, 8)
    from n6convert.plugin.graphs import run_model

    assert np.allclose(run_model(result.model, {"x": x})["y"], x * x)
    assert shape_of(result.model.graph.outputs[0]) == (1, 4, 8, 8) and not single_use(result.model.graph.inputs[0])
