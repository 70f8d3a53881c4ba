"""A model as the limits look at it: shapes inferred, constants at hand, Q/DQ pairs seen through."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.operators.table import Row, Runs, row_of, runs
from n6convert.operators.versions import has

__all__ = ["View", "constant", "dims", "label", "through_quantization"]


def constant(value: ir.Value | None) -> NDArray[np.generic] | None:
    """The array behind an initializer or a Constant node; None for anything computed."""
    if value is None:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def dims(value: ir.Value | None) -> tuple[int | None, ...] | None:
    """Shape with None for unknown dimensions; None when the rank is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(d if isinstance(d, int) else None for d in value.shape)


def label(node: ir.Node) -> str:
    """What a message calls a node: operator and name, or its first output when it has none."""
    return f"{node.op_type} '{node.name or node.outputs[0].name}'"


def through_quantization(value: ir.Value | None) -> ir.Value | None:
    """The tensor before any DequantizeLinear/QuantizeLinear pairs."""
    while value is not None:
        node = value.producer()
        if node is None or node.op_type not in {"DequantizeLinear", "QuantizeLinear"}:
            return value
        value = node.inputs[0]
    return None


def named(value: ir.Value) -> str:
    """The name in the user's own graph: without Q/DQ, and rewrites call what they add to X ``X/~rule``."""
    before = through_quantization(value)
    return ((before or value).name or "").split("/~")[0].removesuffix("_QuantizeLinear_Input")


class View:
    """A model prepared for checking.

    Attributes:
        model: a copy with shapes inferred as far as ONNX can.
        version: (major, minor) of the ST Edge AI core.
        switches: compiler options beyond the stock profile, such as ``expand-softmax``.
        inference_failed: the reason when ONNX shape inference refuses the model, else None.
    """

    def __init__(
        self, model: ir.Model, version: tuple[int, int], inference_failed: str | None = None,
        switches: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        self.model = model
        self.version = version
        self.switches = switches
        self.inference_failed = inference_failed

    def has(self, feature: str) -> bool:
        """Whether the compiler has a feature of ``n6convert/operators/compiler.yaml``."""
        return has(self.version, feature)

    @property
    def graph(self) -> ir.Graph:
        """The model's graph."""
        return self.model.graph

    @cached_property
    def nodes(self) -> list[ir.Node]:
        """Nodes of the graph and of every subgraph."""
        return list(ir.traversal.RecursiveGraphIterator(self.graph))

    def of_type(self, *kinds: str) -> Iterator[ir.Node]:
        """Nodes of the standard domain with one of these operators."""
        return (n for n in self.nodes if n.op_type in kinds and n.domain in {"", "ai.onnx"})

    @cached_property
    def decided(self) -> list[tuple[ir.Node, Row]]:
        """Nodes of the standard domain whose operator alone decides its fate, with the row that says it."""
        found = ((node, row_of(node.op_type, self.version, self.switches)) for node in self._of_verdict())
        return [(node, row) for node, row in found if row is not None]

    @cached_property
    def undecided(self) -> list[ir.Node]:
        """Nodes of the standard domain whose operator is in none of ST's tables."""
        return [n for n in self._of_verdict() if row_of(n.op_type, self.version, self.switches) is None]

    def _of_verdict(self) -> Iterator[ir.Node]:
        standard = (n for n in self.nodes if n.domain in {"", "ai.onnx"})
        return (n for n in standard if runs(n.op_type, self.version, self.switches) is not Runs.DEPENDS)

    @cached_property
    def opset(self) -> int:
        """Version of the standard operator set; 0 when the model states none."""
        imports = self.graph.opset_imports
        return imports.get("", imports.get("ai.onnx", 0))

    @cached_property
    def four_bits(self) -> bool:
        """True when weights have four bits."""
        return any(v.dtype == ir.DataType.INT4 for v in self.graph.initializers.values())

    @cached_property
    def inputs(self) -> list[ir.Value]:
        """Graph inputs that are not initializers."""
        return [v for v in self.graph.inputs if v.name not in self.graph.initializers]

    @cached_property
    def quantized(self) -> bool:
        """True when activations go through QuantizeLinear."""
        return any(True for _ in self.of_type("QuantizeLinear"))

    @cached_property
    def computed(self) -> list[tuple[ir.Node, ir.Value]]:
        """Each used output of each node, with its node."""
        return [(n, v) for n in self.nodes if n.op_type != "Constant" for v in n.outputs if v.name]

    def depends_on_input(self, value: ir.Value | None) -> bool:
        """True when the value is an activation: not computed from constants alone."""
        return value is not None and value in self._activations

    @cached_property
    def _activations(self) -> set[ir.Value]:
        found: set[ir.Value] = set(self.inputs)
        for node in self.nodes:
            if node.op_type in {"Shape", "Size"} and None not in (dims(node.inputs[0]) or (None,)):
                continue  # a constant
            if any(v in found for v in node.inputs if v is not None):
                found.update(node.outputs)
        return found
