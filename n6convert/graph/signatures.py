"""Nodes against the definition of their operator: inputs and attributes that it has, of the type it takes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from n6convert.graph.fault import Fault, shortened
from n6convert.graph.structure import label, subgraphs
from n6convert.graph.tensors import TYPES, type_name

if TYPE_CHECKING:
    import onnx

__all__ = ["opset_of", "signature_faults"]

_NAMES = {
    0: "nothing", 1: "a float", 2: "an integer", 3: "a text", 4: "a tensor", 5: "a graph", 6: "floats", 7: "integers",
    8: "texts", 9: "tensors", 10: "graphs", 11: "a sparse tensor", 12: "sparse tensors", 13: "a type", 14: "types",
}  # fmt: skip
#: values that have no default: a number or text that is absent is zero or empty
_FIELDS = {4: "t", 5: "g", 13: "tp"}
#: attributes that count or measure something
_POSITIVE = frozenset({"blocksize", "dilations", "group", "kernel_shape", "strides", "num_outputs", "hidden_size"})
#: larger numbers than this mean no size, axis or step; ends of old Slices may have them
_LARGEST = 1 << 31
_UNBOUNDED = frozenset({"ends", "starts", "value_int", "value_ints"})
#: texts that an operator's attribute may hold, by operator where its name alone does not say
_WORDS: dict[str, tuple[str, ...]] = {
    "auto_pad": ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"),
    "coordinate_transformation_mode": (
        "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric",
        "tf_half_pixel_for_nn", "tf_crop_and_resize", "output_half_pixel",
    ),
    "nearest_mode": ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"),
    "padding_mode": ("zeros", "border", "reflection"),
    "direction": ("forward", "reverse", "bidirectional", "LEFT", "RIGHT"),
    "DepthToSpace mode": ("DCR", "CRD"),
    "Pad mode": ("constant", "reflect", "edge", "wrap"),
    "Resize mode": ("nearest", "linear", "cubic"),
    "GridSample mode": ("linear", "bilinear", "nearest", "cubic", "bicubic"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Signature:
    """What is checked of an operator's definition."""

    attributes: dict[str, int]
    required: tuple[str, ...]
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    needed_inputs: tuple[int, ...]


def opset_of(model: onnx.ModelProto) -> int:
    """Version of the standard operators; 0 when the model names none."""
    return next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 0)


def signature_faults(model: onnx.ModelProto) -> Iterator[Fault]:
    """Attributes of another type than the operator takes, or none where it needs one; inputs that are missing."""
    opset = opset_of(model)
    if not 0 < opset < 1 << 15 and any(not n.domain for n in model.graph.node):
        yield Fault("opset", "the model names no version of the standard operators", limit="opset 1 or newer",
                    found=f"opset {opset}" if opset else None)  # fmt: skip
        return
    shapes = {t.name: list(t.dims) for t in model.graph.initializer}
    stack = list(model.graph.node)
    while stack:
        node = stack.pop()
        stack.extend(inner for graph in subgraphs(node) for inner in graph.node)
        if not node.op_type:
            yield Fault("operators", "a node has no operator", label(node))
        yield from _attribute_faults(node)
        signature = _signature(node.op_type, opset) if node.domain in ("", "ai.onnx") else None
        if signature is not None:
            yield from _against(node, signature)
            yield from _kernel_faults(node, shapes)
        elif not any(node.output):
            yield Fault("operators", "a node writes no tensor", label(node))


@lru_cache(maxsize=4096)
def _signature(kind: str, opset: int) -> _Signature | None:
    from onnx import defs

    try:
        schema: Any = defs.get_schema(kind, opset, "")
    except Exception:  # onnx's SchemaError: an operator that ONNX does not have is judged later, by name
        return None
    attributes = schema.attributes
    single = type(schema).FormalParameterOption.Single
    return _Signature(
        {name: int(a.type.value) for name, a in attributes.items()},
        tuple(name for name, a in attributes.items() if a.required),
        (schema.min_input, schema.max_input),
        (schema.min_output, schema.max_output),
        tuple(i for i, formal in enumerate(schema.inputs) if formal.option == single),
    )


def _attribute_faults(node: onnx.NodeProto) -> Iterator[Fault]:
    """What can be said without the operator's definition."""
    seen: set[str] = set()
    for a in node.attribute:
        name = shortened(a.name)
        if not a.name or a.name in seen:
            yield Fault("attributes", "an attribute is given twice or has no name", label(node), found=name or None)
        seen.add(a.name)
        if a.ref_attr_name:
            yield Fault("attributes", f"attribute {name} refers to a function's, outside of a function", label(node))
        elif a.type not in _NAMES or not a.type or (a.type in _FIELDS and not a.HasField(_FIELDS[a.type])):
            yield Fault("attributes", f"attribute {name} has no value of its type", label(node))
        elif a.type in (3, 8) and not all(_is_text(text) for text in ((a.s,) if a.type == 3 else a.strings)):
            yield Fault("attributes", f"attribute {name} is no text", label(node), limit="UTF-8")
        elif a.type in (2, 7):
            yield from _range_faults(node, a)


def _range_faults(node: onnx.NodeProto, a: onnx.AttributeProto) -> Iterator[Fault]:
    values = (a.i,) if a.type == 2 else tuple(a.ints)
    least = 1 if a.name in _POSITIVE else -_LARGEST
    if a.name not in _UNBOUNDED and not all(least <= value <= _LARGEST for value in values):
        found = shortened(str(values[0] if a.type == 2 else list(values)))
        limit = "1 or more" if least == 1 and min(values) < 1 else f"numbers below {_LARGEST:,}"
        yield Fault("attributes", f"attribute {shortened(a.name)} is out of range", label(node), None, limit, found)


def _words(node: onnx.NodeProto, name: str) -> tuple[str, ...]:
    return _WORDS.get(name) or _WORDS.get(f"{node.op_type} {name}", ())


def _kernel_faults(node: onnx.NodeProto, shapes: dict[str, list[int]]) -> Iterator[Fault]:
    """A kernel size that is not the weight's, which shape inference believes and nothing can run."""
    kernel = next((list(a.ints) for a in node.attribute if a.name == "kernel_shape"), None)
    weight = shapes.get(node.input[1]) if node.op_type in ("Conv", "ConvTranspose") and len(node.input) > 1 else None
    if kernel and weight and kernel != weight[2:]:
        problem, found = "attribute kernel_shape is not the size of the weight", shortened(str(kernel))
        yield Fault("attributes", problem, label(node), shortened(node.input[1]), str(weight[2:]), found)


def _is_text(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _against(node: onnx.NodeProto, signature: _Signature) -> Iterator[Fault]:
    for a in node.attribute:
        wanted = signature.attributes.get(a.name)
        if wanted is None:
            yield Fault("attributes", "the operator has no such attribute", label(node), found=shortened(a.name))
        elif wanted != a.type:
            yield Fault(
                "attributes", f"attribute {a.name} is of another type than the operator takes", label(node), None,
                _NAMES[wanted], _NAMES.get(a.type),
            )  # fmt: skip
        elif a.type == 3 and a.s and (words := _words(node, a.name)) and a.s.decode(errors="replace") not in words:
            yield Fault("attributes", f"attribute {a.name} has an unknown value", label(node), None,
                        ", ".join(words), shortened(a.s.decode(errors="replace")))  # fmt: skip
        elif a.name in ("to", "dtype") and wanted == 2 and a.i not in TYPES and a.i != 8:
            yield Fault("weight-types", "a type that is not computed with", label(node), None,
                        "float16, float32 and integers", type_name(a.i))  # fmt: skip
    given = {a.name for a in node.attribute}
    for name in signature.required:
        if name not in given:
            yield Fault("attributes", f"attribute {name} is missing", label(node))
    for role, names, (least, most) in (
        ("inputs", node.input, signature.inputs), ("outputs", node.output, signature.outputs)
    ):  # fmt: skip
        if not least <= len(names) <= most:
            limit = str(least) if least == most else f"{least} to {most}" if most < 1 << 30 else f"{least} or more"
            yield Fault("operators", f"a node has a wrong number of {role}", label(node), None, limit, str(len(names)))
    missing = next((i for i in signature.needed_inputs if i < len(node.input) and not node.input[i]), None)
    if missing is not None:
        problem = "a node lacks an input that its operator needs"
        yield Fault("operators", problem, label(node), found=f"no input {missing}")
    if not any(node.output):
        yield Fault("operators", "a node writes no tensor", label(node))
