"""Resize is linear and works on one axis at a time: ``Y = A_h X A_w^T``. Each factor is a 1x1 Conv over that axis.

Turned so that the axis is the channel axis, an interpolation matrix ``A [n_out, n_in]`` is the weight of a pointwise
convolution; three turns ``(0,3,1,2)``, which are hardware on every core, bring the axes back in order. That avoids
the CPU epoch of bilinear Resize and the DepthToSpace of nearest ([#resize]), is exact at the borders, and holds for
every mode, scale and coordinate convention, because the matrices are read off onnxruntime's own Resize.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.graph.query import Array, attribute, is_float, shape_of
from n6convert.rewrites.pointwise_forms import along_axes
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.runtime.session import Session

__all__ = ["ResizeToConv"]

_MAX_SIDE = 512


@dataclass
class _Resize:
    node: ir.Node
    x: ir.Value
    before: tuple[int, ...]
    after: tuple[int, ...]


class ResizeToConv(Rewrite[_Resize]):
    """Write Resize and Upsample of height and width as 1x1 Convs over the turned axes."""

    name = "resize-to-conv"
    roots = frozenset({"Resize", "Upsample"})

    def pattern(self, node: ir.Node) -> _Resize | None:
        before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
        if before is None or after is None or len(before) != 4 or before[:2] != after[:2] or node.inputs[0] is None:
            return None
        return _Resize(node, node.inputs[0], before, after)

    def check(self, found: _Resize, context: Context) -> str | None:
        if not is_float(found.x):
            return "its input is not float32"
        if attribute(found.node, "coordinate_transformation_mode") == "tf_crop_and_resize":
            return "crop and resize depends on a region of interest"
        if max(found.before[2:] + found.after[2:]) > _MAX_SIDE:
            return f"a side above {_MAX_SIDE} makes weights of more bytes than the image"
        return None

    def replace(self, found: _Resize, build: Builder, context: Context) -> Sequence[ir.Value]:
        matrices = [None if found.before[a] == found.after[a] else _matrix(found, a) for a in (2, 3)]
        return [along_axes(build, found.x, *matrices)]


def _matrix(found: _Resize, axis: int) -> Array:
    """[n_out, n_in] of one axis: what the node makes of unit vectors along it, constant along the other."""
    size, other = found.before[axis], found.before[5 - axis]
    unit = np.zeros((1, size, size, other), np.float32)
    unit[0, np.arange(size), np.arange(size)] = 1
    unit = unit if axis == 2 else unit.swapaxes(2, 3)
    answer = Session(_alone(found, size), threads=1).run({"x": np.ascontiguousarray(unit)})["y"][0]
    return np.asarray(answer[:, :, 0].T if axis == 2 else answer[:, 0, :].T)


def _alone(found: _Resize, channels: int) -> ir.Model:
    """A model of the node alone, for another number of channels."""
    node = found.node
    full = [1, channels, *found.before[2:]]
    x = ir.Value(name="x", shape=ir.Shape(full), type=ir.TensorType(ir.DataType.FLOAT))
    constants = [_parameter(value, i, channels) for i, value in enumerate(node.inputs[1:])]
    copy = ir.Node("", node.op_type, [x, *constants], node.attributes.values(), num_outputs=1)
    copy.outputs[0].name = "y"
    copy.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    opsets = node.graph.opset_imports if isinstance(node.graph, ir.Graph) else {"": 17}
    held = [v for v in constants if v is not None]
    graph = ir.Graph([x], copy.outputs, nodes=[copy], initializers=held, opset_imports=opsets, name="resize")
    return ir.Model(graph, ir_version=8)


def _parameter(value: ir.Value | None, position: int, channels: int) -> ir.Value | None:
    """A parameter of the node, with the number of channels corrected where it is a size."""
    tensor = None if value is None else ir.convenience.get_const_tensor(value)
    if tensor is None:
        return None
    data = tensor.numpy().copy()
    if data.dtype == np.int64 and data.size == 4:
        data[1] = channels
    name = f"p{position}"
    return ir.Value(
        name=name, shape=ir.Shape(data.shape), type=ir.TensorType(tensor.dtype), const_value=ir.tensor(data, name=name)
    )
