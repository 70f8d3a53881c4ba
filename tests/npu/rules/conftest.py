"""One operator on made-up tensors, and the rule that places it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor
from n6convert.npu.rules import Rule, Subject, decide

Shape = tuple[int, ...]


@pytest.fixture
def placed() -> Callable[..., Rule]:
    """``placed(op, data=, constants=, output=, version=)``: int8 tensors of these shapes, and attributes."""

    def run(
        op: str,
        data: list[Shape],
        output: Shape,
        constants: list[Shape] | None = None,
        version: tuple[int, int] = (4, 0),
        style: str = "qdq",
        known: dict[str, Any] | None = None,
        change: dict[str, Tensor] | None = None,
        order: list[str] | None = None,
        **attributes: Any,
    ) -> Rule:
        tensors = {f"x{i}": Tensor(f"x{i}", shape, "int8", 0.1, 3) for i, shape in enumerate(data)}
        for i, shape in enumerate(constants or []):
            tensors[f"c{i}"] = Tensor(f"c{i}", shape, "int8", 0.1, 0, constant=True)
        inputs = tuple(order or tensors)
        tensors["y"] = Tensor("y", output, "int8", 0.1, 3)
        tensors |= change or {}
        node = Node("n", op, inputs, ("y",), attributes)
        graph = Graph("g", [node], tensors, {}, tuple(f"x{i}" for i in range(len(data))), ("y",), style)
        return decide(Subject(graph, node, version, **(known or {})))

    return run
