"""Operators that belong on the host, and where to end a network in front of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.graph.ends import behind, ending_at, names_in_front
from n6convert.graph.operators import PRODUCTS
from n6convert.graph.query import place_of
from n6convert.operators.table import Row, refusal_of, row_of
from n6convert.operators.versions import Version, versions

__all__ = ["refuse_host_operators", "remedy_for", "way_out"]

_LAYERS = PRODUCTS | {"LSTM", "GRU", "RNN", "Einsum"}


def refuse_host_operators(model: ir.Model, version: Version | None = None) -> None:
    """Refuse a float model with operators that only the host can do, with the outputs that end it in front of them.

    Args:
        model: read or rewritten.
        version: of the compiler; None: only what no version takes is refused.

    Raises:
        GraphError: naming the first of them.
    """
    dependent = behind(model.graph, [n for n in model.graph if any(v in model.graph.inputs for v in n.inputs)])
    found = [n for n in model.graph if n.domain in ("", "ai.onnx") and _host_row(n.op_type, version) and n in dependent]
    if found:
        kinds = sorted({n.op_type for n in found})
        remedies = dict.fromkeys(text for k in kinds if (text := _remedy(k, version)) is not None)
        raise GraphError(
            "the NPU has no form of an operator, and no rewrite gives it one",
            place=place_of(found[0]),
            limit="operators that work element by element, by windows or by matrix products",
            found=", ".join(kinds),
            remedy=way_out(model.graph, found, ", ".join(remedies)),
        )


def _host_row(op: str, version: Version | None) -> Row | None:
    """The row that leaves an operator to the host, with one version or with all; None where one of them takes it."""
    found = [row_of(op, v) for v in (versions() if version is None else (version,))]
    return found[-1] if all(row is not None and row.host for row in found) else None


def _remedy(op: str, version: Version | None) -> str | None:
    """What to do about an operator that the compiler does not take, or whose result has no INT8 form."""
    row = refusal_of(op, version) or _host_row(op, version)
    return None if row is None else row.remedies.get(op)


def remedy_for(
    node: ir.Node, version: Version | None = None, name_of: Callable[[ir.Value], str] | None = None
) -> str | None:
    """What to do about an operator without a form on the NPU; None for all others.

    Args:
        node: of the network.
        version: of the compiler; None: only what no version takes is meant.
        name_of: name of a value as the user knows it; None: its own.
    """
    remedy = _remedy(node.op_type, version)
    if remedy is None or not _host_row(node.op_type, version) or not isinstance(node.graph, ir.Graph):
        return remedy
    return way_out(node.graph, [node], remedy, name_of)


def way_out(
    graph: ir.Graph, nodes: Iterable[ir.Node], host: str, name_of: Callable[[ir.Value], str] | None = None
) -> str:
    """What to set so that the network ends in front of some nodes; ``host`` says what is left to do there.

    Args:
        graph: the network.
        nodes: operators that cannot stay.
        host: what is left to do behind the cut.
        name_of: name of a value as the user knows it; None: its own.
    """
    nodes = list(nodes)
    names = names_in_front(graph, nodes, name_of)
    if names is None:
        return host
    setting = ending_at(names)
    if any(n.op_type in _LAYERS for n in behind(graph, nodes)):
        return f"{host}: the network goes on behind it, so convert two networks; the first ends with {setting}"
    return f"{host}, and end the network in front of it: {setting}"
