"""The ends of a network as the compiler was told to make them: element types and channel position ([#placement],
[#command-line])."""

from __future__ import annotations

from dataclasses import dataclass, replace

from n6convert.errors import RecipeError
from n6convert.npu.graph import Graph, Node

__all__ = ["AS_MODELED", "CHANNEL_POSITIONS", "DATA_TYPES", "Ends", "shape_ends"]

DATA_TYPES = ("float32", "int8", "uint8")
CHANNEL_POSITIONS = ("chfirst", "chlast")


@dataclass(frozen=True, slots=True)
class Ends:
    """What ``stedgeai`` was given; None leaves an end as the model has it.

    Raises:
        RecipeError: a value that the option does not take.
    """

    input_type: str | None = None
    """``--input-data-type``"""
    output_type: str | None = None
    """``--output-data-type``"""
    input_channels: str | None = None
    """``--inputs-ch-position``"""
    output_channels: str | None = None
    """``--outputs-ch-position``"""

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--input-data-type", self.input_type, DATA_TYPES),
            ("--output-data-type", self.output_type, DATA_TYPES),
            ("--inputs-ch-position", self.input_channels, CHANNEL_POSITIONS),
            ("--outputs-ch-position", self.output_channels, CHANNEL_POSITIONS),
        ):
            if value is not None and value not in known:
                raise RecipeError(f"{option} does not take this value", found=value, limit=", ".join(known))


AS_MODELED = Ends()
"""No option given."""


def shape_ends(graph: Graph, ends: Ends) -> None:
    """Add and remove the conversions and Transposes at the ends of a graph, in place.

    An int8 or uint8 end drops the conversion of a float one (uint8 into an int8 network stays an Add on the NPU, SEEN
    r27); a float32 end gets one.
    """
    for name in graph.inputs:
        if ends.input_channels == "chfirst":
            _drop_edge(graph, name)
        if ends.input_type is not None:
            _input(graph, name, ends.input_type)
    if ends.output_channels == "chfirst":
        graph.outputs = tuple(_in_planes(graph, name) for name in graph.outputs)
    if ends.output_type is not None:
        graph.outputs = tuple(_output(graph, name, ends.output_type) for name in graph.outputs)


def _drop_edge(graph: Graph, name: str) -> None:
    """A channel-first input of a channel-last model: the inner order is the outer one."""
    edges = [node for node in graph.consumers().get(name, ()) if node.attributes.get("graph_edge")]
    for edge in edges:
        graph.tensors[name].shape = graph.shape(edge.outputs[0])
        edge.op, edge.attributes = "Reshape", {}


def _in_planes(graph: Graph, name: str) -> str:
    """The channel-first map behind a channel-last output of the model: what the edge's Transpose reads."""
    maker = graph.producers().get(name)
    return maker.inputs[0] if maker is not None and maker.attributes.get("graph_edge") else name


def _input(graph: Graph, name: str, wanted: str) -> None:
    tensor = graph.tensors[name]
    if tensor.quantized or tensor.dtype != "float32":
        if tensor.quantized and tensor.dtype != wanted:
            _convert_input(graph, name, wanted)
        return
    path, quantizers = _float_path(graph, name)
    if wanted == "float32" or not quantizers:
        return
    result = graph.tensors[quantizers[0].outputs[0]]
    zero = result.zero_point if result.dtype == wanted else None
    for inner in path:
        known = graph.tensors[inner]
        known.dtype, known.scale, known.zero_point = wanted, result.scale, zero if zero is not None else 0
    if result.dtype == wanted:
        for node in quantizers:
            node.op, node.attributes = "Identity", {}


def _float_path(graph: Graph, name: str) -> tuple[list[str], list[Node]]:
    """The input, the Transpose behind it, and the conversions that read them; none when others read them too."""
    readers = graph.consumers()
    path, found = [name], []
    for node in readers.get(name, ()):
        if node.attributes.get("graph_edge"):
            path.append(node.outputs[0])
            found += readers.get(node.outputs[0], [])
        else:
            found.append(node)
    return path, found if found and all(node.op == "QuantizeLinear" for node in found) else []


def _convert_input(graph: Graph, name: str, wanted: str) -> None:
    """Readers take a converted copy of the input."""
    old = graph.tensors[name]
    inner = f"{name}/converted"
    graph.tensors[inner] = replace(old, name=inner)
    for node in graph.nodes:
        node.inputs = tuple(inner if x == name else x for x in node.inputs)
    old.dtype = wanted
    if wanted == "float32":
        old.scale = old.zero_point = None
    graph.nodes.insert(0, Node(f"{name}/QuantizeLinear", "QuantizeLinear", (name,), (inner,), sources=(name,)))


def _output(graph: Graph, name: str, wanted: str) -> str:
    """The tensor that is the output now."""
    tensor, makers = graph.tensors[name], graph.producers()
    edge = makers.get(name)
    inner = edge.inputs[0] if edge is not None and edge.attributes.get("graph_edge") else name
    maker = makers.get(inner)
    if wanted != "float32" and maker is not None and maker.op == "DequantizeLinear":
        source = graph.tensors[maker.inputs[0]]
        if source.dtype == wanted:
            return _without(graph, maker, edge if inner != name else None)
        return name
    if not tensor.quantized or tensor.dtype == wanted:
        return name
    outer = f"{name}/{wanted}"
    kind = "DequantizeLinear" if wanted == "float32" else "QuantizeLinear"
    graph.tensors[outer] = replace(tensor, name=outer, dtype=wanted)
    if wanted == "float32":
        graph.tensors[outer].scale = graph.tensors[outer].zero_point = None
    graph.nodes.append(Node(f"{name}/{kind}", kind, (name,), (outer,), sources=(name,)))
    return outer


def _without(graph: Graph, conversion: Node, edge: Node | None) -> str:
    """Drop a conversion to float at the end; the Transpose behind it then works on integers."""
    source, result = conversion.inputs[0], conversion.outputs[0]
    if edge is None:
        return source
    edge.inputs = tuple(source if x == result else x for x in edge.inputs)
    known, last = graph.tensors[source], graph.tensors[edge.outputs[0]]
    last.dtype, last.scale, last.zero_point = known.dtype, known.scale, known.zero_point
    return edge.outputs[0]
