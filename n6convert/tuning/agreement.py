"""Comparison of the torch model with the written INT8 file, code by code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.runtime.session import Session
from n6convert.tuning.program import Program, State, tensor_name

__all__ = ["Agreement", "agreement"]


@dataclass(frozen=True)
class Agreement:
    """Attributes:
    codes: of all activations over all samples.
    differing: how many of them are others in torch.
    largest: the largest difference in steps.
    first: the first tensor in graph order with such a code.
    """

    codes: int
    differing: int
    largest: int
    first: str | None

    def facts(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self)


def agreement(
    program: Program, state: State, model: ir.Model, samples: Sequence[Mapping[str, NDArray[Any]]]
) -> Agreement:
    """Compare every quantized activation of a model's integer execution with the codes that torch gives.

    Args:
        state: the numbers that the model holds.
    """
    copy = model.clone()
    quantizers = [n for n in copy.graph if n.op_type == "QuantizeLinear"]
    copy.graph.outputs.extend(n.outputs[0] for n in quantizers if not n.outputs[0].is_graph_output())
    session = Session(copy)
    codes = differing = largest = 0
    first: str | None = None
    with torch.no_grad():  # side by side, as training runs them
        kept = program.run(samples, state, keep=set(program.tensors)).kept
    for index, feeds in enumerate(samples):
        exact = session.run_on(feeds)
        for node in quantizers:
            name = tensor_name(node.inputs[1].name or "")  # type: ignore[union-attr]
            made = kept[name].integers[index].cpu().numpy() + _zero_point(node)
            gaps = np.abs(made - exact[node.outputs[0].name or ""])
            count = int(np.count_nonzero(gaps))
            codes, differing, largest = codes + gaps.size, differing + count, max(largest, int(gaps.max(initial=0)))
            first = name if count and first is None else first
    return Agreement(codes, differing, largest, first)


def _zero_point(node: ir.Node) -> int:
    zero = node.inputs[2] if len(node.inputs) > 2 else None
    return 0 if zero is None or zero.const_value is None else int(zero.const_value.numpy().item())
