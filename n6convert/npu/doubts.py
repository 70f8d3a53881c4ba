"""What the reports do not settle: operators that a mechanism seen once decides, or whose cost no report explains.

A rule of placement carries its own evidence. What happens to an operator after that is often a mechanism of the
compiler, with less behind it than the rule; here its evidence takes the rule's place, and widens the interval of the
time where it is thin (``evidence.is_thin``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from n6convert.graph.operators import SUMS_AND_PRODUCTS
from n6convert.npu.cycles import is_split
from n6convert.npu.ir import Lowered, Op, Where
from n6convert.operators.versions import has

__all__ = ["DOUBTS", "Doubt", "mark"]


@dataclass(frozen=True, slots=True)
class Doubt:
    """One mechanism: the evidence for it, and the operators that it made."""

    evidence: str
    applies: Callable[[Op, Lowered, tuple[int, int]], bool]


def _operator(op: Op) -> str:
    return str(op.attributes.get("operator", ""))


def _covering(op: Op, lowered: Lowered, version: tuple[int, int]) -> bool:
    return op.kind == "SpaceToDepth" and _operator(op) == "Conv" and lowered.tensors[op.outputs[0]].shape[2:] == (1, 1)


def _linear_in_float(op: Op, lowered: Lowered, version: tuple[int, int]) -> bool:
    return op.float and op.where is Where.SW and op.kind in {"Conv", "Add"} and _operator(op) in {"Gemm", "MatMul"}


def _narrowed(op: Op, lowered: Lowered, version: tuple[int, int]) -> bool:
    if op.conv is None or op.where is not Where.HW or max(op.conv.kernel) == 1 or op.conv.depthwise:
        return False
    reached = (after * stride for after, stride in zip(op.conv.out_hw, op.conv.strides, strict=True))
    return any(size < before for size, before in zip(reached, op.conv.in_hw, strict=True))


def _split_depthwise(op: Op, lowered: Lowered, version: tuple[int, int]) -> bool:
    conv = op.conv
    split = conv is not None and conv.depthwise and is_split(conv)
    return op.where is Where.HW and split and has(version, "true_depthwise")


def _sum_of_vectors(op: Op, lowered: Lowered, version: tuple[int, int]) -> bool:
    if op.where is not Where.HW or op.kind not in SUMS_AND_PRODUCTS or op.conv is not None:
        return False
    shape = lowered.tensors[op.outputs[0]].shape
    variable = sum(not lowered.tensors[name].constant for name in op.inputs)
    return _operator(op) == op.kind and variable == 2 and math.prod(shape) == (shape[-1] if shape else 0)


DOUBTS = (
    Doubt("seen 4/4 (r27): a kernel that covers its map runs behind a SpaceToDepth", _covering),
    Doubt("seen 3/3 (r58): a float layer is a convolution and a sum", _linear_in_float),
    Doubt("seen r32: without padding, kernels start at fewer places than the map has", _narrowed),
    Doubt("unexplained: no report has a split depthwise kernel from 3.0 on; its cycles are guessed", _split_depthwise),
    Doubt("unexplained: r24 takes up to 16 % more epochs for sums of vectors than the rules give", _sum_of_vectors),
)
"""The first that applies counts."""


def mark(lowered: Lowered, version: tuple[int, int]) -> None:
    """Write the evidence of the mechanism into every operator that one of the doubts is about."""
    for op in lowered.ops:
        found = next((doubt for doubt in DOUBTS if doubt.applies(op, lowered, version)), None)
        if found is not None:
            op.evidence = found.evidence
