"""Taking the network out of a MoveNet file: without the pixel arithmetic in front and TensorFlow's decoding behind.

Both ends are found by the structure of the graph, not by names, so that every exporter's file is understood:

* the front is what lies between the input and the first convolution, as long as it only casts, scales, shifts and
  transposes; it is measured (``value = scale * pixel + shift``) and left to ``encode``;
* the heads are the convolutions after which no further convolution comes. What lies behind them (ArgMax, TopK, Gather
  and the rest of CropAndDecode) is left to ``decode``. A head that goes through a Sigmoid keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, ShapeInferencePass
from onnxscript import optimizer

from n6convert.errors import N6ConvertError, SourceError
from n6convert.plugin.graphs import run_model
from n6convert_movenet.architecture import INPUT

__all__ = ["Front", "cut_network"]

_FRONT_OPS = {"Cast", "Mul", "Div", "Add", "Sub", "Transpose", "Identity"}
_AFFINE_OPS = {"Add", "Sub", "Mul", "Div"}
_LAYOUT_OPS = {"Transpose", "Reshape", "Identity", "Squeeze", "Unsqueeze"}
_PICK_OPS = {"ArgMax", "TopK"}
_KEYPOINTS = (13, 17)


@dataclass(frozen=True)
class Front:
    """What the file did to a pixel before the first convolution: ``scale * pixel + shift``, a number a channel."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]


def cut_network(model: ir.Model, *, four_heads: bool, imgsz: int | None) -> tuple[ir.Model, Front | None, int]:
    """The bare network: input ``image`` [1,3,S,S], outputs ``heatmaps`` or all four heads, each [1,c,S/4,S/4].

    Args:
        model: a float graph; changed in place.
        four_heads: keep the original model's four heads, not the heat maps alone.
        imgsz: side of the input; None keeps the file's.

    Returns:
        the network, the measured front (None when the file leaves pixels to its user), number of keypoints.

    Raises:
        SourceError: the graph is not a MoveNet single-pose network.
    """
    optimizer.optimize(model)
    convs = [n for n in model.graph.all_nodes() if n.op_type == "Conv"]
    if not convs:
        raise _foreign("it has no convolution")
    first = convs[0]
    _check_front(first)
    side = imgsz or _side(first, model.graph.inputs[0])
    front = _measure(model)
    heads = _heads(convs, four_heads)
    _replace_ends(model, first, heads, side)
    _check_operators(model)
    try:
        model = ShapeInferencePass(strict_mode=True)(model).model
    except Exception as error:  # onnx raises several unrelated types
        raise _foreign("its shapes do not fit together", found=str(error).splitlines()[0][:200]) from error
    return model, front, _keypoints(heads)


def _check_front(first: ir.Node) -> None:
    """Refuse anything but pixel arithmetic between the input and the first convolution."""
    value = _given(first.inputs[0])
    while (node := value.producer()) is not None:
        moving = [v for v in node.inputs if v is not None and v.const_value is None]
        if node.op_type not in _FRONT_OPS or len(moving) != 1:
            raise _foreign(
                f"{node.op_type} stands between the input and the first convolution", limit=sorted(_FRONT_OPS)
            )
        value = moving[0]


def _given(value: ir.Value | None) -> ir.Value:
    if value is None:
        raise _foreign("a convolution has no input")
    return value


def _side(first: ir.Node, image: ir.Value) -> int:
    """Height of the file's input, which must be its width as well."""
    axes = (2, 3) if image is first.inputs[0] or _channel_first(image) else (1, 2)
    shape = image.shape
    if shape is None or len(shape) != 4 or not all(isinstance(shape[a], int) for a in axes):
        raise _foreign("the file leaves its image size open", remedy="name one: --set options.imgsz=192")
    height, width = (int(str(shape[a])) for a in axes)
    if height != width:
        raise _foreign("the image is not square", found=f"{height}x{width}")
    return height


def _channel_first(image: ir.Value) -> bool:
    return image.shape is not None and len(image.shape) == 4 and image.shape[1] == 3 and image.shape[3] != 3


def _measure(model: ir.Model) -> Front | None:
    """Run the front on three plain images; None when a float input goes into the first convolution as it is."""
    probe = ir.from_proto(ir.to_proto(model))
    node = next(n for n in probe.graph.all_nodes() if n.op_type == "Conv")
    value, image = _given(node.inputs[0]), probe.graph.inputs[0]
    if value is image:
        return None
    side = 4
    shape = (1, 3, side, side) if _channel_first(image) else (1, side, side, 3)
    image.shape = ir.Shape(shape)
    value.shape, value.dtype = None, ir.DataType.FLOAT
    probe.graph.outputs[:] = [value]
    probe = RemoveUnusedNodesPass()(probe).model
    dtype = image.dtype or ir.DataType.FLOAT
    zero = -128 if dtype is ir.DataType.INT8 else 0
    plain = [{str(image.name): np.full(shape, zero + v, dtype.numpy())} for v in (0, 100, 255)]
    try:
        seen = [run_model(probe, feeds)[str(value.name)] for feeds in plain]
    except N6ConvertError as error:
        raise _foreign("its pixel arithmetic cannot be run", found=error.found) from error
    black, gray, white = (np.asarray(x, np.float64)[0].reshape(3, -1)[:, 0] for x in seen)
    scale = (white - black) / 255
    if not np.allclose(black + 100 * scale, gray, atol=1e-4) or not np.all(scale > 0):
        raise _foreign("its pixel arithmetic is not linear")
    if dtype.is_floating_point() and np.all(scale == 1) and not black.any():
        return None
    return Front(tuple(map(float, scale)), tuple(map(float, black)))


def _heads(convs: list[ir.Node], four_heads: bool) -> dict[str, tuple[ir.Value, bool]]:
    """Head values by role, with whether a Sigmoid follows.

    Raises:
        SourceError: number or widths of the heads are not MoveNet's.
    """
    last = [n for n in convs if not any(m.op_type == "Conv" for m in _descendants(n.outputs[0]))]
    ends = [_end(n.outputs[0]) for n in last]
    widths = [_width(n) for n in last]
    keypoints = min((w for w in widths if w > 1), default=0)
    roles = {_role(width, keypoints, end[0]): end for width, end in zip(widths, ends, strict=True)}
    wanted = ("center", "heatmaps", "regression", "offsets") if four_heads else ("heatmaps",)
    found = f"{len(last)} heads with {', '.join(map(str, widths))} channels"
    if len(roles) != len(last) or any(name not in roles for name in wanted):
        raise _foreign(
            f"the heads {', '.join(wanted)} were not found",
            limit="one head of 13 or 17 heat maps, or four with 1, 17, 34 and 34 channels",
            found=found,
            remedy="use `movenet` for a file with heat maps alone" if four_heads else None,
        )
    return {name: roles[name] for name in wanted}


def _descendants(value: ir.Value) -> Iterable[ir.Node]:
    """Every node that depends on the value."""
    seen: set[ir.Node] = set()
    todo = list(value.consumers())
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            todo += [c for v in node.outputs for c in v.consumers()]


def _end(value: ir.Value) -> tuple[ir.Value, bool]:
    """Where the head's own arithmetic ends (a separate bias is part of it), and whether a Sigmoid follows."""
    while len(users := list(value.consumers())) == 1 and users[0].op_type in _AFFINE_OPS and _by_constant(users[0]):
        value = users[0].outputs[0]
    ahead = value
    while len(users := list(ahead.consumers())) == 1 and users[0].op_type in _LAYOUT_OPS:
        ahead = users[0].outputs[0]
    return value, any(n.op_type == "Sigmoid" for n in ahead.consumers())


def _by_constant(node: ir.Node) -> bool:
    return sum(v is not None and v.const_value is None for v in node.inputs) == 1


def _width(conv: ir.Node) -> int:
    weight = conv.inputs[1]
    if weight is None or weight.const_value is None:
        raise _foreign("a convolution has no constant weights", place=conv.name)
    return int(weight.const_value.shape.numpy()[0])


def _role(width: int, keypoints: int, value: ir.Value) -> str:
    """A head's part: offsets are read after every pick (ArgMax, TopK), regressions before the keypoints' picks."""
    if width == 1:
        return "center"
    if width == keypoints:
        return "heatmaps"
    if width != 2 * keypoints:
        return f"unknown_{width}"
    return "regression" if any(n.op_type in _PICK_OPS for n in _descendants(value)) else "offsets"


def _keypoints(heads: Mapping[str, tuple[ir.Value, bool]]) -> int:
    node = heads["heatmaps"][0].producer()
    while node is not None and node.op_type != "Conv":
        node = next(v for v in node.inputs if v is not None and v.const_value is None).producer()
    count = _width(node) if node is not None else 0
    if count not in _KEYPOINTS:
        raise _foreign("the number of heat maps is not MoveNet's", limit="13 or 17 keypoints", found=count)
    return count


def _replace_ends(model: ir.Model, first: ir.Node, heads: Mapping[str, tuple[ir.Value, bool]], side: int) -> None:
    graph = model.graph
    image = ir.Value(name=INPUT, type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape((1, 3, side, side)))
    first.replace_input_with(0, image)
    outputs = []
    for name, (value, sigmoid) in heads.items():
        if sigmoid:
            node = ir.node("Sigmoid", [value], outputs=[ir.Value(name=name)])
            graph.append(node)
            value = node.outputs[0]
        outputs.append(value)
    graph.outputs[:] = outputs
    graph.inputs[:] = [image]
    RemoveUnusedNodesPass()(model)
    for node in graph.all_nodes():
        for output in node.outputs:
            output.shape = None
    for name, value in zip(heads, outputs, strict=True):
        value.name, value.dtype = name, ir.DataType.FLOAT


def _check_operators(model: ir.Model) -> None:
    """Refuse what ONNX does not know, and what would tie the network to the file's image size."""
    unknown = {n.op_type for n in model.graph.all_nodes() if n.domain or not onnx.defs.has(n.op_type)}
    if unknown:
        raise _foreign("it holds operators that have no ONNX form", found=", ".join(sorted(unknown)))
    for node in model.graph.all_nodes():
        if node.op_type == "Resize" and (len(node.inputs) < 3 or node.inputs[2] is None):
            raise _foreign("a Resize names its output size instead of the factor 2", place=node.name)


def _foreign(
    problem: str, *, place: object = None, limit: object = None, found: object = None, remedy: str | None = None
) -> SourceError:
    return SourceError(
        f"this is not a MoveNet single-pose network: {problem}",
        place=place,
        limit=limit,
        found=found,
        remedy=remedy or "other networks convert with the model `onnx`",
    )
