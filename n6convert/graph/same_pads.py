"""``auto_pad=SAME_*`` of windows with dilations as pads, since onnxruntime computes such windows with pads only."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.graph.query import attribute, shape_of

__all__ = ["write_pads_of_dilated"]

_WINDOWS = frozenset({"Conv", "MaxPool", "AveragePool", "LpPool"})


def write_pads_of_dilated(model: ir.Model) -> None:
    """Give windows with dilations and ``SAME_UPPER`` or ``SAME_LOWER`` the pads that this means, in place.

    The result has ``ceil(n / stride)`` elements along each axis; an odd pad goes to the end for UPPER, to the start
    for LOWER. Windows over axes of unknown length stay as they are.
    """
    for node in model.graph:
        mode, dilations = attribute(node, "auto_pad", "NOTSET"), attribute(node, "dilations") or []
        if node.domain or node.op_type not in _WINDOWS or mode not in ("SAME_UPPER", "SAME_LOWER"):
            continue
        if any(d != 1 for d in dilations) and (pads := _pads(node, mode == "SAME_LOWER")) is not None:
            node.attributes.pop("auto_pad")
            node.attributes["pads"] = ir.AttrInt64s("pads", pads)


def _pads(node: ir.Node, lower: bool) -> list[int] | None:
    full = shape_of(node.inputs[0])
    weight = shape_of(node.inputs[1]) if node.op_type == "Conv" else None
    kernel = attribute(node, "kernel_shape") or (weight[2:] if weight is not None else None)
    if full is None or kernel is None:
        return None
    before, behind = [], []
    strides, dilations = (attribute(node, key) or [1] * len(kernel) for key in ("strides", "dilations"))
    for n, k, s, d in zip(full[2:], kernel, strides, dilations, strict=True):
        total = max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
        small = total // 2
        before.append(total - small if lower else small)
        behind.append(small if lower else total - small)
    return [*before, *behind]
