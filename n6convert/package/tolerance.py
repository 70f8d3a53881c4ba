"""How far a board's answer to the self-test may lie from the host's, for rounding alone.

ST does not say how the NPU rounds. On fifteen runs of single layers, boards were seen to differ from the host's
arithmetic by one step at the most, in none to 6.25 % of the elements, and never where values are only moved or pooled.
What that does to a network's outputs depends on the network and on the input, and is tried: the model runs several
times with each computed result moved a little before it is rounded, by another pattern each time, so that as many
elements fall the other way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.package.ports import Port
from n6convert.quantization.topology.roles import PASS_THROUGH
from n6convert.runtime.session import Session

__all__ = ["Tolerance", "rounding_tolerances", "with_free_rounding"]

#: patterns that are tried, and what others may add to them
_TRIALS, _MARGIN = 4, 1.5
#: of a step, to either side: moves that are even up to there turn half as large a share of the elements
_PART = 1 / 8


@dataclass(frozen=True)
class Tolerance:
    """Differences of one output in int8 steps.

    Attributes:
        largest: of any element.
        total: of all elements together.
    """

    largest: int
    total: int


def rounding_tolerances(
    model: ir.Model, outputs: Sequence[Port], feeds: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> list[Tolerance]:
    """What rounding did to the int8 ``outputs`` in any trial, with a margin for patterns that were not tried.

    Args:
        model: INT8.
        outputs: of the package.
        feeds: real values by input name.
        expected: real values by output name, as the host computes them.
    """
    gaps: list[list[NDArray[np.int64]]] = [[] for _ in outputs]
    moving = model.clone()
    moves = _movable(moving)
    session = Session(moving, last_use=True)
    for seed in range(_TRIALS):
        found = session.run({**feeds, **_patterns(moves, seed)})
        for port, seen in zip(outputs, gaps, strict=True):
            codes = (port.to_board(values[port.name]).astype(np.int64) for values in (found, expected))
            seen.append(np.abs(np.subtract(*codes)))
    return [Tolerance(min(_limit([g.max() for g in s]), 255), _limit([g.sum() for g in s])) for s in gaps]


def _limit(found: Sequence[np.int64]) -> int:
    return math.ceil(_MARGIN * int(max(found))) + 1


def with_free_rounding(model: ir.Model, seed: int) -> ir.Model:
    """A copy of an INT8 QDQ model in which some results land on the other code beside their exact value."""
    copy = model.clone()
    moves = _movable(copy)
    values = {v.name or "": v for v in copy.graph.inputs}
    for name, array in _patterns(moves, seed).items():
        values[name].const_value = ir.tensor(array, name=name)
        copy.graph.inputs.remove(values[name])
        copy.graph.register_initializer(values[name])
    return copy


def _movable(model: ir.Model) -> dict[str, NDArray[np.float32]]:
    """Add an input to each computed result before it is rounded, in place; by input, its shape filled with the step."""
    moves = {}
    for node in list(model.graph):
        source, scale = (node.inputs[0], node.inputs[1]) if node.op_type == "QuantizeLinear" else (None, None)
        maker = source.producer() if source is not None else None
        if source is None or maker is None or maker.op_type in PASS_THROUGH or scale is None or not scale.const_value:
            continue
        shape = _pattern_shape(source)
        move = ir.Value(name=f"{source.name}/pattern", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(shape))
        model.graph.inputs.append(move)
        moves[move.name or ""] = np.broadcast_to(scale.const_value.numpy().astype(np.float32), shape)
        moved = ir.node("Add", [source, move])
        moved.outputs[0].name = f"{source.name}/moved"
        model.graph.insert_before(node, moved)
        node.replace_input_with(0, moved.outputs[0])
    return moves


def _pattern_shape(value: ir.Value) -> list[int]:
    """Alike in all rows of a map."""
    shape = [int(d) for d in value.shape.numpy()] if value.shape is not None else []
    return [*shape[:2], 1, *shape[3:]] if len(shape) == 4 else shape


def _patterns(moves: Mapping[str, NDArray[np.float32]], seed: int) -> dict[str, NDArray[np.float32]]:
    """Moves of an eighth of a step at most."""
    random = np.random.default_rng(seed)
    return {n: random.uniform(-_PART, _PART, step.shape).astype(np.float32) * step for n, step in moves.items()}
