"""What is trained in an INT8 model: weights, biases, and scales; and how the file gets them back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.graph.operators import PRODUCTS
from n6convert.tuning.constants import dequantizes_constant
from n6convert.tuning.exact_weights import weights_before
from n6convert.tuning.fake_quantization import Steps, round_to_codes, whole_codes
from n6convert.tuning.scale_groups import ScaleGroups
from n6convert.tuning.tensor import Tensor

__all__ = ["Parameters"]

#: a float32 number below 2^31
_INT32 = 2147483520.0
#: largest codes with 8 and with 4 bits, and the least with 4
_WIDE, _NARROW, _LEAST_NARROW = 127.0, 7.0, -8.0
#: how far from the code that a weight starts on it may lie, and how far beyond the largest one
_INSIDE = 0.45
#: logarithm of the factor by which a scale may change
_FACTOR = 0.5


@dataclass(frozen=True)
class _Weight:
    """A weight's initializers and where its channels lie.

    Attributes:
        value: name of the dequantized weight.
        limits: least code and largest.
    """

    value: str
    codes: str
    scale: str
    shape: tuple[int, ...]
    limits: tuple[float, float]

    @property
    def kind(self) -> str:
        return "narrow" if self.limits[1] < _WIDE else "weight"


@dataclass(frozen=True)
class _Bias:
    """A bias, whose steps are those of the input times those of the weight.

    Attributes:
        unit: what the trained number counts in: the step of the layer's output.
    """

    value: str
    codes: str
    scale: str
    source: str
    weight: str
    unit: float


class Parameters:
    """Trained numbers of an INT8 model, in units in which they move alike: steps of grids, logarithms of scales.

    Weights start on the codes that the quantizer chose, so that the network is the file's, but not all in their middle:
    each lies as near to its float value as its code allows. So they come to the next code one by one, those first that
    rounding moved most. The scales of their channels move apart from the codes, so that no weight is rounded anew.

    Args:
        model: the INT8 model.
        prepared: the float model it stands for.

    Attributes:
        leaves: ``kind/name`` -> tensor; kinds are ``weight``, ``narrow`` (weights of four bits), ``bias``, ``spread``
            (scales of a weight's channels) and ``scale`` (of activations that share one).
    """

    def __init__(self, model: ir.Model, prepared: ir.Model, device: str = "cpu") -> None:
        self._model, self._device = model, device
        self._groups = ScaleGroups(model.graph, prepared.graph)
        self._weights: list[_Weight] = []
        self._biases: list[_Bias] = []
        self._fixed: dict[str, Any] = {}
        self.leaves: dict[str, Tensor] = {}
        self._base: dict[str, Tensor] = {}
        before = weights_before(model, prepared)
        for node in model.graph:
            if dequantizes_constant(node):
                self._add(node, before.get(node.outputs[0].name or ""))
        for group, scale in self._groups.scales.items():
            self._base[group] = self._tensor(np.float32(scale))
        for group in self._groups.trained:
            self._leaf("scale", group, np.zeros((), np.float32))

    def parts(self, kind: str) -> list[Tensor]:
        """The tensors of one kind."""
        return [leaf for name, leaf in self.leaves.items() if name.startswith(f"{kind}/")]

    def changed_by(self, kinds: Collection[str]) -> set[str]:
        """Names of the values in :meth:`state` that leaves of these kinds change."""
        found = {w.value for w in self._weights if w.kind in kinds or "spread" in kinds}
        found |= {b.value for b in self._biases if "bias" in kinds or b.weight in found}
        groups = self._groups
        return found | ({n for n, g in groups.members.items() if g in groups.trained} if "scale" in kinds else set())

    def state(self) -> dict[str, Any]:
        """What :meth:`n6convert.tuning.program.Program.run` reads, computed from the leaves."""
        scales = {group: self._scale(group) for group in self._groups.scales}
        state: dict[str, Any] = self._fixed | {name: scales[g] for name, g in self._groups.members.items()}
        spread: dict[str, Tensor] = {}
        for weight in self._weights:
            made = self._weight(weight)
            spread[weight.value] = made.scale.reshape(-1)
            state[weight.value] = made
        for bias in self._biases:
            steps = state[bias.source] * spread[bias.weight]
            value = self.leaves[f"bias/{bias.codes}"] * bias.unit
            steps = steps.repeat(value.numel() // steps.numel())
            state[bias.value] = round_to_codes(value, steps, -_INT32, _INT32)
        return state

    def limit(self) -> None:
        """Keep scales within what may change and weights where codes are, in place."""
        with torch.no_grad():
            for weight in self._weights:
                low, high = weight.limits
                self.leaves[f"{weight.kind}/{weight.codes}"].clamp_(low - _INSIDE, high + _INSIDE)
            for leaf in (*self.parts("scale"), *self.parts("spread")):
                leaf.clamp_(-_FACTOR, _FACTOR)

    def written(self) -> ir.Model:
        """A copy of the INT8 model with the trained numbers: the same graph, other integers and scales."""
        copy = self._model.clone()
        with torch.no_grad():
            state = self.state()
        for name in self._groups.members:
            _put(copy.graph, name, state[name].cpu().numpy())
        parts: list[_Weight | _Bias] = [*self._weights, *self._biases]
        for part in parts:
            steps = state[part.value]
            _put(copy.graph, part.codes, steps.integers.cpu().numpy())
            _put(copy.graph, part.scale, steps.scale.reshape(-1).cpu().numpy())
        return copy

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """The leaves as arrays."""
        return {name: leaf.detach().cpu().numpy().copy() for name, leaf in self.leaves.items()}

    def load(self, arrays: Mapping[str, NDArray[np.float32]]) -> None:
        """Take the leaves' values from :meth:`arrays`."""
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                leaf.copy_(torch.from_numpy(np.asarray(arrays[name])))

    def _scale(self, group: str) -> Tensor:
        leaf = self.leaves.get(f"scale/{group}")
        return self._base[group] if leaf is None else self._base[group] * torch.exp(leaf)

    def _weight(self, weight: _Weight) -> Steps:
        scale = self._base[weight.codes] * torch.exp(self.leaves[f"spread/{weight.codes}"])
        codes = whole_codes(self.leaves[f"{weight.kind}/{weight.codes}"], *weight.limits)
        return Steps(codes, scale.reshape(weight.shape))

    def _add(self, node: ir.Node, before: NDArray[Any] | None) -> None:
        codes, scale = (_array(node.inputs[i]) for i in (0, 1))
        uses = list(node.outputs[0].uses())
        roles = {_role(use.node, use.idx) for use in uses}
        if roles == {"bias"}:
            self._add_bias(node, codes, scale, uses[0].node)
        elif roles == {"weight"}:
            self._add_weight(node, codes, scale, before)
        else:
            self._add_fixed(node, codes, scale)

    def _add_weight(self, node: ir.Node, codes: NDArray[Any], scale: NDArray[Any], before: NDArray[Any] | None) -> None:
        name, value = _name(node.inputs[0]), node.outputs[0].name or ""
        shape = [1] * codes.ndim
        if scale.size > 1:
            shape[node.attributes.get_int("axis", 1)] = -1
        four = node.inputs[0] is not None and node.inputs[0].dtype == ir.DataType.INT4
        whole = codes.astype(np.float32)
        limits = (_LEAST_NARROW, _NARROW) if four else (min(-_WIDE, float(whole.min(initial=0.0))), _WIDE)
        weight = _Weight(value, name, _name(node.inputs[1]), tuple(shape), limits)
        self._weights.append(weight)
        if f"{weight.kind}/{name}" in self.leaves:
            return
        self._base[name] = self._tensor(scale.reshape(-1))
        self._leaf(weight.kind, name, whole + _inside(before, scale.reshape(shape), whole))
        self._leaf("spread", name, np.zeros(scale.size, np.float32))

    def _add_bias(self, node: ir.Node, codes: NDArray[Any], scale: NDArray[Any], layer: ir.Node) -> None:
        name, value = _name(node.inputs[0]), node.outputs[0].name or ""
        reader = next((n for n in layer.outputs[0].consumers() if n.op_type == "QuantizeLinear"), None)
        exact = codes.astype(np.float64) * scale
        unit = float(np.abs(exact).max(initial=0.0) / 64) if reader is None else float(_array(reader.inputs[1]).max())
        entry = layer.inputs[0].producer() if layer.inputs[0] is not None else None
        assert entry is not None
        source, weight = _name(entry.inputs[1]), _name(layer.inputs[1])
        self._biases.append(_Bias(value, name, _name(node.inputs[1]), source, weight, unit or 1.0))
        if f"bias/{name}" not in self.leaves:
            self._leaf("bias", name, (exact / (unit or 1.0)).astype(np.float32))

    def _add_fixed(self, node: ir.Node, codes: NDArray[Any], scale: NDArray[Any]) -> None:
        zero = _array(node.inputs[2]).astype(np.float32) if len(node.inputs) > 2 else np.zeros((), np.float32)
        shape = [1] * codes.ndim
        if scale.size > 1:
            shape[node.attributes.get_int("axis", 1)] = -1
            scale, zero = scale.reshape(shape), zero.reshape(shape)
        whole = self._tensor(codes.astype(np.float32) - zero)
        self._fixed[node.outputs[0].name or ""] = Steps(whole, self._tensor(scale.astype(np.float32)))

    def _leaf(self, kind: str, name: str, array: NDArray[np.float32]) -> None:
        self.leaves[f"{kind}/{name}"] = self._tensor(array).requires_grad_(True)

    def _tensor(self, array: Any) -> Tensor:
        return torch.tensor(np.asarray(array, np.float32), device=self._device)


def _inside(before: NDArray[Any] | None, scale: NDArray[Any], codes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Where in their bins weights lie, in steps from the codes; in the middle where the float ones are not known."""
    if before is None or before.shape != codes.shape:
        return np.zeros_like(codes)
    inside: NDArray[np.float32] = np.clip(before / scale - codes, -_INSIDE, _INSIDE).astype(np.float32)
    return inside


def _role(node: ir.Node, index: int) -> str:
    if node.op_type not in PRODUCTS:
        return "constant"
    if index == 2:
        return "bias"
    return "weight" if index == 1 or node.op_type == "MatMul" else "constant"


def _array(value: ir.Value | None) -> NDArray[Any]:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


def _name(value: ir.Value | None) -> str:
    assert value is not None and value.name is not None
    return value.name


def _put(graph: ir.Graph, name: str, numbers: NDArray[Any]) -> None:
    """Give an initializer other numbers of its own type and shape."""
    value = graph.initializers[name]
    assert value.const_value is not None
    kind = value.const_value.dtype
    shape = tuple(value.const_value.shape.numpy())
    dtype = ml_dtypes.int4 if kind == ir.DataType.INT4 else kind.numpy()
    value.const_value = ir.tensor(numbers.reshape(shape).astype(dtype), dtype=kind, name=name)
