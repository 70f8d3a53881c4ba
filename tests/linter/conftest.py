"""Small graphs as text, and what the linter says about them."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir
import pytest

from n6convert.linter import Finding, lint

Lint = Callable[..., list[Finding]]


@pytest.fixture
def broken() -> Lint:
    """Finds what one rule says about a graph in ONNX text: ``broken(rule, body, inputs=, target=)``."""

    def run(
        rule: str,
        body: str,
        inputs: str = "float[1,4,8,8] x",
        outputs: str = "float y",
        opset: int = 17,
        ir_version: int = 8,
        target: str | None = None,
    ) -> list[Finding]:
        head = f'<ir_version: {ir_version}, opset_import: ["" : {opset}, "com.acme" : 1]>'
        model = ir.from_onnx_text(f"{head} g ({inputs}) => ({outputs}) {body}")
        for value in model.graph.outputs:
            value.shape = None
        return [f for f in lint(model, target) if f.rule == rule]

    return run
