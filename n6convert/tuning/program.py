"""An INT8 QDQ graph as torch runs it, with gradients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.graph.operators import CONVERSIONS
from n6convert.tuning.constants import dequantizes_constant
from n6convert.tuning.fake_quantization import Steps, Value, round_to_codes, values_of
from n6convert.tuning.operators import OPERATORS, Node
from n6convert.tuning.samples_axis import keeps_samples_apart
from n6convert.tuning.tensor import Tensor

__all__ = ["Program", "State", "tensor_name"]

State = Mapping[str, Any]
"""Scales of activations by the name of their initializer, constants by the name of their dequantized value."""

_LINEAR = ("half_pixel", "pytorch_half_pixel", "align_corners")


@dataclass(frozen=True)
class _Grid:
    """Where a quantizer's scale is found, and its least and largest code less the zero point."""

    scale: str
    low: float
    high: float


@dataclass
class Run:
    """What one run of a :class:`Program` gave, with an axis of samples in front.

    Attributes:
        outputs: values of the graph's outputs.
        kept: tensors that were asked for, on their grids.
    """

    outputs: dict[str, Tensor]
    kept: dict[str, Steps]


class Program:
    """Runs a QDQ graph on torch tensors.

    Args:
        model: a QDQ graph whose activations and constants are all quantized.

    Attributes:
        tensors: names of the quantized activations in graph order.
        operators: how many a run computes.

    Raises:
        GraphError: operators that have no form in torch, by name.
    """

    def __init__(self, model: ir.Model, device: str = "cpu") -> None:
        self._device = device
        self._refuse(model.graph)
        # several times as fast as vmap, which pays for each operator anew
        self._batch = keeps_samples_apart(model)
        self._grids: dict[str, _Grid] = {}
        self._nodes = [self._node(n) for n in model.graph if not dequantizes_constant(n)]
        self.operators = len(self._nodes)
        self._outputs = [v.name or "" for v in model.graph.outputs]
        self._constants = {
            name: _constant(value.const_value.numpy(), device)
            for name, value in model.graph.initializers.items()
            if value.const_value is not None and any(u.op_type not in CONVERSIONS for u in value.consumers())
        }
        self.tensors = [tensor_name(grid.scale) for grid in self._grids.values()]
        self._readers = Counter(name for n in self._nodes for name in n.inputs)
        self._readers.update(self._outputs)

    def run(
        self,
        samples: Sequence[Mapping[str, NDArray[Any]]],
        state: State,
        *,
        keep: Collection[str] = (),
    ) -> Run:
        """Run samples side by side, whatever their first axis stands for; results have one more axis in front.

        Args:
            state: see :meth:`n6convert.tuning.parameters.Parameters.state`.
            keep: names of tensors that are wanted.
        """
        feeds = {name: _stacked([s[name] for s in samples], self._device) for name in samples[0]}
        if self._batch:
            found = self._one({name: f.flatten(0, 1) for name, f in feeds.items()}, state, keep)
            outputs, kept = ({name: v.unsqueeze(1) for name, v in part.items()} for part in found)
        else:
            outputs, kept = torch.func.vmap(lambda sample: self._one(sample, state, keep))(feeds)
        return Run(outputs, {name: Steps(codes, state[f"{name}_scale"]) for name, codes in kept.items()})

    def bytes_of_sample(self, sample: Mapping[str, NDArray[Any]], state: State) -> int:
        """What a run keeps of a sample until gradients are computed: most of what it takes in memory."""
        kept: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        shared = [t for v in state.values() for t in ((v.integers, v.scale) if isinstance(v, Steps) else (v,))]
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            run = self.run([sample], state)  # held until all is added up: what is freed makes room for the next
        places = {t.untyped_storage().data_ptr() for t in shared}
        del run
        return sum(size for place, size in kept.items() if place not in places)

    def _one(
        self, feeds: Mapping[str, Tensor], state: State, keep: Collection[str]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        kept, left = dict[str, Tensor](), Counter(self._readers)
        values: dict[str, Value] = dict(feeds)
        for node in self._nodes:
            operands = [self._operand(name, values, state) for name in node.inputs]
            made = self._computed(node, operands, state)
            if node.op == "QuantizeLinear" and (name := tensor_name(self._grids[node.outputs[0]].scale)) in keep:
                kept[name] = made.integers
            values.update(zip(node.outputs, made if isinstance(made, tuple) else (made,), strict=False))
            left.subtract(node.inputs)
            for name in node.inputs:
                if left[name] <= 0:
                    values.pop(name, None)
        return {name: values_of(values[name]) for name in self._outputs}, kept

    def _computed(self, node: Node, operands: list[Any], state: State) -> Any:
        if node.op == "QuantizeLinear":
            grid = self._grids[node.outputs[0]]
            return round_to_codes(operands[0], state[grid.scale], grid.low, grid.high)
        return operands[0] if node.op == "DequantizeLinear" else OPERATORS[node.op](node, operands)

    def _operand(self, name: str, values: Mapping[str, Value], state: State) -> Any:
        if not name:
            return None
        return values[name] if name in values else state[name] if name in state else self._constants.get(name)

    def _node(self, node: ir.Node) -> Node:
        if node.op_type == "QuantizeLinear":
            self._grids[node.outputs[0].name or ""] = _grid(node)
        count = 1 if node.op_type in CONVERSIONS else len(node.inputs)
        shape = node.outputs[0].shape
        return Node(
            node.op_type, node.name or "",
            tuple("" if v is None else v.name or "" for v in node.inputs[:count]),
            tuple(v.name or "" for v in node.outputs),
            {name: _attribute(a) for name, a in node.attributes.items()},
            tuple(int(d) for d in shape.numpy()) if shape is not None and shape.is_static() else None,
        )  # fmt: skip

    def _refuse(self, graph: ir.Graph) -> None:
        found = {n.op_type: n.name or n.outputs[0].name for n in graph if not _has_form(n)}
        if found:
            raise GraphError(
                "torch has no form of some operators here",
                place=", ".join(f"{op} (node {name})" for op, name in sorted(found.items())),
                limit=", ".join(sorted(OPERATORS)),
                remedy="convert without tuning; the INT8 model that was made before is complete",
            )


def _has_form(node: ir.Node) -> bool:
    if node.domain not in ("", "ai.onnx"):
        return False
    if node.op_type == "Resize" and node.attributes.get_string("mode", "nearest") != "nearest":
        kind = node.attributes.get_string("coordinate_transformation_mode", "half_pixel")
        return node.attributes.get_string("mode", "") == "linear" and kind in _LINEAR
    return node.op_type in OPERATORS or node.op_type in CONVERSIONS


def tensor_name(scale: str) -> str:
    """The tensor whose scale has this name."""
    return scale.removesuffix("_scale")


def _grid(node: ir.Node) -> _Grid:
    scale, zero = node.inputs[1], node.inputs[2] if len(node.inputs) > 2 else None
    assert scale is not None
    numbers = np.zeros((), np.uint8) if zero is None or zero.const_value is None else zero.const_value.numpy()
    limits, offset = np.iinfo(numbers.dtype), int(numbers.reshape(-1)[0])
    return _Grid(scale.name or "", float(limits.min - offset), float(limits.max - offset))


def _constant(array: NDArray[Any], device: str) -> Any:
    """Floats as a tensor; whole numbers, which are sizes and places, as they are."""
    return torch.tensor(array, dtype=torch.float32, device=device) if array.dtype.kind == "f" else array


def _stacked(arrays: Sequence[Any], device: str) -> Tensor:
    """Samples along a new first axis: floats, or whole numbers."""
    whole = np.stack([np.asarray(a) for a in arrays])
    kind = torch.float32 if whole.dtype.kind == "f" else torch.bool if whole.dtype.kind == "b" else torch.int64
    return torch.tensor(whole, dtype=kind, device=device)


def _attribute(attribute: ir.Attr) -> Any:
    return list(attribute.value) if isinstance(attribute.value, (list, tuple)) else attribute.value
