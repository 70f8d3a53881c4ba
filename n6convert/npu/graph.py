"""The readers' common result: operators with ONNX names over tensors that already carry their quantization."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.npu.ir import Tensor

__all__ = ["MAX_ELEMENTS", "Graph", "Node", "depth_first", "in_execution_order"]

MAX_ELEMENTS = 1 << 32
"""More elements in one tensor than any memory of the board could hold: such a model is damaged."""
#: values that are looked at first, to see whether all are zero
_SOME = 64


@dataclass(slots=True, eq=False)
class Node:
    """One operator of the model; absent optional inputs are empty strings."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)
    sources: tuple[str, ...] = ()


@dataclass(slots=True)
class Graph:
    """Operators in execution order. ``values`` holds the small constants (shapes, axes, bounds, scales)."""

    name: str
    nodes: list[Node]
    tensors: dict[str, Tensor]
    values: dict[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    style: str = "float"
    """``qdq``, ``qoperator``, ``tflite`` or ``float``: how the file stores its quantization."""
    notes: list[str] = field(default_factory=list)

    def consumers(self) -> dict[str, list[Node]]:
        """Nodes that read each tensor, in execution order."""
        readers: dict[str, list[Node]] = defaultdict(list)
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                if name:
                    readers[name].append(node)
        return readers

    def producers(self) -> dict[str, Node]:
        """The node that writes each tensor."""
        return {name: node for node in self.nodes for name in node.outputs if name}

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor; raises :class:`GraphError` when it is unknown."""
        tensor = self.tensors.get(name)
        if tensor is None:
            raise GraphError(
                "a tensor has no known shape", place=name, remedy="run shape inference and export with static shapes"
            )
        return tensor.shape

    def constant(self, name: str) -> bool:
        """True for a parameter (or an absent optional input)."""
        return not name or (name in self.tensors and self.tensors[name].constant)

    def ints(self, name: str) -> tuple[int, ...] | None:
        """Value of a small integer constant, None when it is not known."""
        value = self.values.get(name)
        return None if value is None else tuple(int(v) for v in np.ravel(value))

    def mark_zeros(self) -> None:
        """Tell the tensors of small constants that hold zeros only (biases of random layers)."""
        for name, value in self.values.items():
            if name in self.tensors:
                some = np.ravel(value)[:_SOME]  # nearly always tells
                self.tensors[name].zero = not (np.any(some) or np.any(value))

    def prune(self) -> None:
        """Drop nodes whose results nobody reads."""
        needed = set(self.outputs)
        kept: list[Node] = []
        for node in reversed(self.nodes):
            if any(name in needed for name in node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        self.nodes = kept[::-1]

    def check(self) -> None:
        """Mark zeros; raise :class:`GraphError` for a tensor that no memory could hold or whose shape is unknown."""
        self.mark_zeros()
        for name in dict.fromkeys(t for node in self.nodes for t in (*node.inputs, *node.outputs) if t):
            shape = self.shape(name)
            tensor = self.tensors[name]
            if any(size < 0 for size in shape) or tensor.elements > MAX_ELEMENTS:
                raise GraphError(
                    "a tensor has an impossible size",
                    place=name,
                    limit=f"{MAX_ELEMENTS} elements",
                    found=f"shape {list(shape)}",
                    remedy="export the model again with its real, static input shape",
                )


def depth_first(graph: Graph) -> list[Node]:
    """The nodes with every one right behind the last of its sources: long chains before their neighbors."""
    makers = graph.producers()
    order: list[Node] = []
    done: set[int] = set()
    stack = [(makers.get(name), False) for name in reversed(graph.outputs)]
    while stack:
        node, ready = stack.pop()
        if node is None or id(node) in done:
            continue
        if ready:
            done.add(id(node))
            order.append(node)
        else:
            stack.append((node, True))
            stack.extend((makers.get(name), False) for name in reversed(node.inputs) if name)
    return order


def in_execution_order(nodes: Sequence[Node], known: Iterable[str]) -> list[Node]:
    """Nodes sorted so that every tensor is written before it is read (stable; linear in nodes and edges).

    Raises:
        GraphError: a tensor is written twice or by nobody, or the graph has a cycle.
    """
    written: dict[str, int] = {}
    available = set(known)
    for index, node in enumerate(nodes):
        for name in filter(None, node.outputs):
            if name in written or name in available:
                raise GraphError("a tensor is written twice", place=node.name, found=name)
            written[name] = index
    waiting, readers = _dependencies(nodes, written, available)
    ready = deque(index for index, count in enumerate(waiting) if count == 0)
    order: list[Node] = []
    while ready:
        index = ready.popleft()
        order.append(nodes[index])
        for reader in readers[index]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                ready.append(reader)
    if len(order) < len(nodes):
        stuck = next(node for node, count in zip(nodes, waiting, strict=True) if count > 0)
        raise GraphError("the graph has a cycle", place=stuck.name, remedy="export the model again")
    return order


def _dependencies(
    nodes: Sequence[Node], written: dict[str, int], available: set[str]
) -> tuple[list[int], dict[int, list[int]]]:
    waiting = [0] * len(nodes)
    readers: dict[int, list[int]] = defaultdict(list)
    for index, node in enumerate(nodes):
        for name in dict.fromkeys(filter(None, node.inputs)):
            if name in written:
                waiting[index] += 1
                readers[written[name]].append(index)
            elif name not in available:
                raise GraphError("a node reads a tensor that nobody writes", place=node.name, found=name)
    return waiting, readers
