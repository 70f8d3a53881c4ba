"""A user's own graph made ready: float32, fixed shapes, only the wanted outputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from n6convert.errors import RecipeError
from n6convert.graph.canonical import infer_shapes
from n6convert.graph.opset import drop_counts_of_parts
from n6convert.graph.port_shapes import leads_with_time
from n6convert.graph.same_pads import write_pads_of_dilated
from n6convert.naming import nearest

__all__ = [
    "cut",
    "fix_shapes",
    "settle_shapes",
    "to_float32",
    "zeros",
]

_WIDE = {ir.DataType.FLOAT16, ir.DataType.DOUBLE, ir.DataType.BFLOAT16}


def cut(model: ir.Model, outputs: Sequence[str]) -> None:
    """Make these tensors the outputs, in place, and drop what is then unused."""
    known = {v.name: v for node in model.graph for v in node.outputs if v.name}
    missing = [name for name in outputs if name not in known]
    if missing:
        near = _nearest(missing[0], [str(name) for name in known])
        raise RecipeError(
            "options.outputs names a tensor that the graph does not have", found=missing[0], limit=", ".join(near)
        )
    model.graph.outputs.clear()
    model.graph.outputs.extend(known[name] for name in dict.fromkeys(outputs))
    common.RemoveUnusedNodesPass()(model)


def fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]], size: tuple[int, int] | None) -> None:
    """Give every input a static shape, in place: as told, batch 1, ``size`` for the unknown height and width.

    Args:
        model: changed in place.
        shapes: by input name, as told by the user.
        size: height and width for inputs whose own are open.

    Raises:
        RecipeError: a dimension is unknown and nothing says what it is, or ``shapes`` contradicts the file.
    """
    common.RemoveInitializersFromInputsPass()(model)
    inputs = {v.name or "": v for v in model.graph.inputs}
    unknown = [name for name in shapes if name not in inputs]
    if unknown:
        raise RecipeError("options.shapes names no input of the model", found=unknown[0], limit=", ".join(inputs))
    for name, value in inputs.items():
        value.shape = ir.Shape(_fixed(name, value, shapes.get(name), size))


def _fixed(name: str, value: ir.Value, told: Sequence[int] | None, size: tuple[int, int] | None) -> list[int]:
    current = None if value.shape is None else [d if isinstance(d, int) and d > 0 else None for d in value.shape]
    if told is not None:
        clash = current is not None and (
            len(current) != len(told) or any(c not in {None, t} for c, t in zip(current[1:], told[1:], strict=True))
        )
        if clash:
            raise RecipeError("options.shapes contradicts the model", place=name, found=list(told), limit=current)
        return [int(d) for d in told]
    if current is None:
        raise _ask(name, "unknown rank", [1, 3, 224, 224])
    batch = [1] if current and current[0] is None else current[:1]
    rest = _sized(current[1:], size)
    if None in rest:
        guess = [1, *(d if d is not None else 224 if len(current) == 4 else 128 for d in current[1:])]
        raise _ask(name, _open_axes(value, rest), guess)
    if len(current) > 1 and batch[0] != 1 and not leads_with_time(value):
        raise RecipeError(
            "the model has a fixed batch; the NPU computes batch 1",
            place=name,
            found=current,
            remedy=f"export it with batch 1, or try `options: {{shapes: {{{name}: {[1, *current[1:]]}}}}}`",
        )
    return [int(d) for d in [*batch, *rest] if d is not None]


def _sized(rest: list[int | None], size: tuple[int, int] | None) -> list[int | None]:
    """Height and width filled in where an image input leaves both open."""
    if size is None or len(rest) != 3:
        return rest
    if rest[1:] == [None, None]:
        return [rest[0], *size]
    return [*size, rest[2]] if rest[:2] == [None, None] else rest


def _open_axes(value: ir.Value, rest: Sequence[int | None]) -> str:
    """``axis 2 (height), axis 3``: the axes behind the batch that nobody fixed, by their symbol where they have one."""
    assert value.shape is not None
    symbols = [getattr(dimension, "value", None) for dimension in value.shape]
    return ", ".join(
        f"axis {axis} ({symbols[axis]})" if symbols[axis] else f"axis {axis}"
        for axis, size in enumerate(rest, start=1)
        if size is None
    )


def _ask(name: str, found: object, guess: list[int]) -> RecipeError:
    return RecipeError(
        "an input has open sizes, and only the batch can be guessed",
        place=name,
        found=found,
        remedy=f"set `options: {{shapes: {{{name}: {guess}}}}}` with your own numbers (images: `imgsz` is enough)",
    )


def to_float32(model: ir.Model) -> int:
    """Turn float16, bfloat16 and double into float32, in place; returns how many constants changed."""
    count = 0
    for value in model.graph.initializers.values():
        if value.const_value is not None and value.const_value.dtype in _WIDE:
            value.const_value = _narrow(value.const_value)
            value.type = ir.TensorType(ir.DataType.FLOAT)
            count += 1
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        count += sum(_narrow_attribute(node, name) for name in list(node.attributes))
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs)]
    for value in values:
        if value.dtype in _WIDE:
            value.type = ir.TensorType(ir.DataType.FLOAT)
    return count


def _narrow(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(np.asarray(tensor.numpy(), np.float32), name=tensor.name)


def _narrow_attribute(node: ir.Node, name: str) -> bool:
    attribute = node.attributes[name]
    if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype in _WIDE:
        node.attributes[name] = ir.AttrTensor(name, _narrow(attribute.as_tensor()))
        return True
    is_type = node.op_type in {"Cast", "RandomUniform", "EyeLike"} and name in {"to", "dtype"}
    if is_type and ir.DataType(attribute.as_int()) in _WIDE:
        node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))
        return True
    return False


def zeros(model: ir.Model) -> dict[str, NDArray[Any]]:
    """Feeds of zeros for a model with static inputs."""
    return {
        v.name or "": np.zeros(tuple(v.shape or ()), v.dtype.numpy() if v.dtype else np.float32)  # type: ignore[arg-type]
        for v in model.graph.inputs
    }


def settle_shapes(model: ir.Model) -> None:
    """Infer the static shape of every tensor, in place; outputs that ONNX cannot infer are measured by running once.

    Raises:
        GraphError: the model does not run, has a loop, or tensors of an impossible size.
    """
    from n6convert.graph.folding import fold_constants
    from n6convert.graph.refusals import refuse_loops, refuse_sizes

    refuse_loops(model)
    refuse_sizes(model)
    inputs = set(model.graph.inputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in inputs:
                value.shape = None
    fold_constants(model, onnx_shape_inference=True)
    drop_counts_of_parts(model)
    common.RemoveUnusedNodesPass()(model)
    infer_shapes(model)
    write_pads_of_dilated(model)
    if any(v.shape is None or not v.shape.is_static() for v in model.graph.outputs):
        from n6convert.runtime.session import run_model

        measured = run_model(model, zeros(model))
        for value in model.graph.outputs:
            value.shape = ir.Shape(measured[value.name or ""].shape)


def _nearest(name: str, known: list[str]) -> list[str]:
    return nearest(name, known, most=5, likeness=0.3) or known[-5:]
