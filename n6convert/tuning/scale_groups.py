"""Which activations keep one scale together while scales are trained, and which scales stay as they are.

Operators that only move values share a grid on both sides; so do constants that are joined to activations. Scales that
others rely on are not trained: those of inputs and outputs, which firmware knows, and those of functions with bounds.
The zero points stay everywhere: which operators run where, and how fast, then stays as well.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx_ir as ir

from n6convert.tuning.constants import dequantizes_constant
from n6convert.tuning.quantization import fixed_range, passes_through

__all__ = ["ScaleGroups"]


class ScaleGroups:
    """Attributes:
    members: scale's initializer -> its group.
    scales: group -> scale.
    trained: groups whose scale is trained.
    """

    def __init__(self, graph: ir.Graph, prepared: ir.Graph) -> None:
        self._parent: dict[str, str] = {}
        self._numbers: dict[str, tuple[float, int]] = {}
        fixed = self._collect(graph)
        for node in graph:
            if passes_through(node):
                self._join(node)
        self._join_biases(graph)
        self.members = {name: self._find(name) for name in self._parent}
        self.scales = {group: self._numbers[group][0] for group in self.members.values()}
        held = {self.members[n] for n in fixed | self._bounded(prepared)}
        self.trained = [g for g in dict.fromkeys(self.members.values()) if g not in held]

    def _collect(self, graph: ir.Graph) -> set[str]:
        """Note every scale of an activation or of a joined constant; returns those that stay."""
        ends = set(graph.inputs) | set(graph.outputs)
        fixed = set()
        for node in graph:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            scale = node.inputs[1]
            if scale is None or scale.const_value is None or scale.const_value.size != 1:
                continue
            constant = dequantizes_constant(node)
            if constant and not any(passes_through(n) for n in node.outputs[0].consumers()):
                continue
            name = scale.name or ""
            self._parent.setdefault(name, name)
            zero = node.inputs[2].const_value if len(node.inputs) > 2 and node.inputs[2] is not None else None
            self._numbers[name] = (
                float(scale.const_value.numpy().item()), 0 if zero is None else int(zero.numpy().item()),
            )  # fmt: skip
            if constant or node.inputs[0] in ends or node.outputs[0] in ends:
                fixed.add(name)
        return fixed

    def _join(self, node: ir.Node) -> None:
        """Operands and outputs of an operator that moves values, where their grids are equal."""
        names = [*_read(node), *_written(node)]
        names = [n for n in names if n in self._parent]
        by_grid: dict[tuple[float, int], list[str]] = defaultdict(list)
        for name in names:
            by_grid[self._numbers[name]].append(name)
        for same in by_grid.values():
            for other in same[1:]:
                self._merge(same[0], other)

    def _join_biases(self, graph: ir.Graph) -> None:
        """Inputs of layers that read one bias, whose steps depend on them."""
        readers: dict[str, list[str]] = defaultdict(list)
        for node in graph:
            if node.op_type in ("Conv", "ConvTranspose", "Gemm") and len(node.inputs) > 2 and node.inputs[2]:
                stored = node.inputs[2].producer()
                if stored is not None and stored.inputs[0] is not None:
                    readers[stored.inputs[0].name or ""] += list(_read(node))[:1]
        for names in readers.values():
            known = [n for n in names if n in self._parent]
            for other in known[1:]:
                self._merge(known[0], other)

    def _bounded(self, prepared: ir.Graph) -> set[str]:
        """Grids that end where a function does: many values lie exactly there."""
        values = (v for n in prepared for v in n.outputs if n.op_type in ("Clip", "Min") or fixed_range(v) is not None)
        return {f"{v.name}_scale" for v in values} & set(self._parent)

    def _find(self, name: str) -> str:
        while self._parent[name] != name:
            name = self._parent[name]
        return name

    def _merge(self, name: str, other: str) -> None:
        self._parent[self._find(other)] = self._find(name)


def _read(node: ir.Node) -> Iterator[str]:
    """Scales of what a node reads."""
    for value in node.inputs:
        made = value.producer() if value is not None else None
        if made is not None and made.op_type == "DequantizeLinear" and made.inputs[1] is not None:
            yield made.inputs[1].name or ""


def _written(node: ir.Node) -> Iterator[str]:
    """Scales on which a node's outputs are rounded."""
    for value in node.outputs:
        for reader in value.consumers():
            if reader.op_type == "QuantizeLinear" and reader.inputs[1] is not None:
                yield reader.inputs[1].name or ""
