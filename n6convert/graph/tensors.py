"""Stored tensors: of a type that is computed with, and as many values as their shape says."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from n6convert.graph.fault import Fault, shortened
from n6convert.graph.structure import label, subgraphs

if TYPE_CHECKING:
    import onnx

__all__ = ["MAX_ELEMENTS", "TYPES", "stored_tensors", "tensor_faults", "type_name", "wanted_bytes"]

#: more elements than this, one byte each, have no place in the address space of any STM32N6
MAX_ELEMENTS = 1 << 28
_MAX_RANK = 32
#: bits of an element by ``TensorProto.DataType``; other types (floats of 4, 6 and 8 bits, complex numbers) are refused
TYPES = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}
_COMPUTED_WITH = "float16, float32 and integers of up to 64 bits"
_STRING = 8
_FIELDS = {1: "float_data", 7: "int64_data", 8: "string_data", 11: "double_data", 12: "uint64_data", 13: "uint64_data"}
"""Where values lie that are not in ``raw_data``; all others lie in ``int32_data``."""


def stored_tensors(model: onnx.ModelProto) -> Iterator[tuple[str | None, onnx.TensorProto]]:
    """Every stored tensor with the node whose attribute it is: of the graph, its subgraphs and local functions."""
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from ((None, tensor) for tensor in graph.initializer)
            yield from ((None, part) for sparse in graph.sparse_initializer for part in (sparse.values, sparse.indices))
            nodes.extend(graph.node)
            continue
        node = nodes.pop()
        graphs.extend(subgraphs(node))
        for attribute in node.attribute:
            tensors = [attribute.t] if attribute.type == 4 else attribute.tensors if attribute.type == 9 else []
            sparse = [attribute.sparse_tensor] if attribute.type == 11 else attribute.sparse_tensors
            yield from ((label(node), tensor) for tensor in tensors)
            yield from ((label(node), part) for s in sparse for part in (s.values, s.indices))


def type_name(data_type: int) -> str:
    """``float8e5m2``; the number for a type that ONNX does not have."""
    from onnx import TensorProto

    known = data_type in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(data_type)).lower() if known else str(data_type)


def wanted_bytes(tensor: onnx.TensorProto) -> int | None:
    """What the values take by type and shape; None for a type or a shape that is refused."""
    if tensor.data_type not in TYPES or any(size < 0 for size in tensor.dims):
        return None
    return (int(math.prod(tensor.dims)) * TYPES[tensor.data_type] + 7) // 8


def tensor_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Stored tensors of a type that nothing computes with, or with another number of values than their shape has."""
    for node, tensor in stored_tensors(model):
        yield from _faults(node, tensor)
    if model.graph.sparse_initializer or any(t.type in (11, 12) for n in model.graph.node for t in n.attribute):
        yield Fault("sparse-weights", "weights are stored sparse", limit="dense tensors")


def _faults(node: str | None, tensor: onnx.TensorProto) -> Iterator[Fault]:
    place = (node, tensor.name or None)
    if node is None and not tensor.name:
        yield Fault("weight-names", "a weight has no name", limit="a name for every initializer")
    elif tensor.data_type not in TYPES and tensor.data_type != _STRING:
        yield Fault(
            "weight-types", "a weight has a type that is not computed with", *place, _COMPUTED_WITH,
            type_name(tensor.data_type), "export with float32 weights",
        )  # fmt: skip
    elif len(tensor.dims) > _MAX_RANK or any(not 0 <= size <= 1 << 40 for size in tensor.dims):
        found = shortened(str(list(tensor.dims)))
        yield Fault("weight-shapes", "a weight has an impossible shape", *place, f"rank {_MAX_RANK}", found)
    elif tensor.HasField("segment"):
        yield Fault("weight-shapes", "a weight is stored in segments", *place, "one tensor")
    elif tensor.data_location != 1:
        wanted, held, unit = _amounts(tensor)
        if wanted != held:
            problem = "a constant is damaged: its values do not fit its shape"
            limit = f"{wanted} {unit} for {list(tensor.dims)}"
            yield Fault("weight-shapes", problem, *place, limit, f"{held} {unit}")


def _amounts(tensor: onnx.TensorProto) -> tuple[int, int, str]:
    """What the message should hold by type and shape, what it holds, and in which unit."""
    if tensor.HasField("raw_data"):
        return wanted_bytes(tensor) or 0, len(tensor.raw_data), "bytes"
    count = int(math.prod(tensor.dims))
    packed = (count + 1) // 2 if TYPES.get(tensor.data_type) == 4 else count
    return packed, len(getattr(tensor, _FIELDS.get(tensor.data_type, "int32_data"))), "values"
