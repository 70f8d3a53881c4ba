from __future__ import annotations

import onnx_ir as ir

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import OLD


def test_an_unknown_batch_is_one() -> None:
    g = GraphWriter()
    model = g.model(g.node("Relu", g.linear(g.input("x", [1, 6, 8]), 8, 8)))
    for value in (*model.graph.inputs, *model.graph.outputs, *(v for n in model.graph for v in n.outputs)):
        value.shape = ir.Shape(["batch", *list(value.shape or [])[1:]])
    result = rewrite(model, None, RewriteConfig(), target=OLD, threads=1)
    assert [tuple(v.shape or ()) for v in (*result.model.graph.inputs, *result.model.graph.outputs)] == [(1, 6, 8)] * 2
