"""Reading an LSTM, GRU or RNN node: its weights by direction, its states, and what speaks against unrolling it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import Array, attribute, constant_of, is_float, shape_of

__all__ = ["ACTIVATIONS", "GATES", "Cell", "Direction", "Function", "read_cell"]

#: gates of an operator, in the order in which its weights hold them
GATES: Mapping[str, str] = {"LSTM": "iofc", "GRU": "zrh", "RNN": "i"}
_DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
_INPUTS = ("x", "w", "r", "bias", "lengths", "h", "c", "peepholes")
#: functions that an activation may be, with the defaults of their alpha and beta
ACTIVATIONS: Mapping[str, tuple[float | None, float | None]] = {
    "Sigmoid": (None, None),
    "Tanh": (None, None),
    "Relu": (None, None),
    "LeakyRelu": (0.01, None),
    "HardSigmoid": (0.2, 0.5),
    "Affine": (1.0, 0.0),
    "ScaledTanh": (1.0, 1.0),
}


@dataclass(frozen=True)
class Function:
    """An activation by its ONNX name, with alpha and beta where it has them."""

    name: str
    alpha: float | None = None
    beta: float | None = None


@dataclass(frozen=True)
class Direction:
    """One pass over the sequence.

    Attributes:
        w: input weights [gates, H, I].
        r: recurrent weights [gates, H, H].
        w_bias, r_bias: [gates, H].
        peepholes: [3, H] for the gates i, o, f of an LSTM; None without.
        functions: f, g (and h of an LSTM).
        reverse: from the last step to the first.
    """

    w: Array
    r: Array
    w_bias: Array
    r_bias: Array
    peepholes: Array | None
    functions: tuple[Function, ...]
    reverse: bool


@dataclass(frozen=True)
class Cell:
    """A recurrent node with static shapes and constant weights."""

    node: ir.Node
    x: ir.Value
    steps: int
    batch: int
    width: int
    directions: tuple[Direction, ...]
    h: ir.Value | None
    c: ir.Value | None
    lengths: ir.Value | None
    clip: float | None
    reset_behind: bool
    """GRU: the reset gate multiplies ``R h + b`` (linear_before_reset), not h."""
    coupled: bool
    """LSTM: the forget gate is 1 - i (input_forget)."""

    def against(self, most_steps: int) -> str | None:
        """Why the cell cannot be unrolled, as a sentence."""
        names = {f.name for d in self.directions for f in d.functions}
        if unknown := sorted(names - ACTIVATIONS.keys()):
            return f"the activation {unknown[0]} has no form on the NPU"
        if self.lengths is not None:
            lengths = constant_of(self.lengths)
            if lengths is None:
                return "sequence_lens is computed: how many steps are valid must be known before"
            if (lengths != self.steps).any():
                return f"sequence_lens {lengths.reshape(-1).tolist()} are shorter than the {self.steps} steps"
        if self.steps > most_steps:
            return (
                f"{self.steps} steps would become about as many times five epochs; the limit is {most_steps} "
                "(rewrite.recurrent_steps). Export the cell with one step, its states as inputs and outputs, and call "
                "it once for every step"
            )
        return None


def read_cell(node: ir.Node) -> Cell | None:
    """The cell that a node computes; None when shapes or weights are not known."""
    given = dict(zip(_INPUTS, [*node.inputs, *[None] * len(_INPUTS)], strict=False))
    x, full = given["x"], shape_of(given["x"])
    w, r = constant_of(given["w"]), constant_of(given["r"])
    if x is None or full is None or w is None or r is None or not is_float(x) or attribute(node, "layout", 0):
        return None
    bias = _constant(given["bias"], np.zeros((w.shape[0], 2 * w.shape[1]), np.float32))
    peepholes = None if given["peepholes"] is None else constant_of(given["peepholes"])
    if bias is None or (given["peepholes"] is not None and peepholes is None):
        return None
    directions = _directions(node, w, r, bias, peepholes)
    reset_behind, coupled = (bool(attribute(node, key, 0)) for key in ("linear_before_reset", "input_forget"))
    sizes = full[0], full[1], r.shape[2]
    states = given["h"], given["c"], given["lengths"]
    return Cell(node, x, *sizes, directions, *states, attribute(node, "clip"), reset_behind, coupled)


def _constant(value: ir.Value | None, default: Array) -> Array | None:
    return default if value is None else constant_of(value)


def _directions(node: ir.Node, w: Array, r: Array, bias: Array, peepholes: Array | None) -> tuple[Direction, ...]:
    gates, width = len(GATES[node.op_type]), r.shape[2]
    functions = _functions(node, w.shape[0])
    reverse = [False, True] if w.shape[0] == 2 else [attribute(node, "direction", "forward") == "reverse"]
    return tuple(
        Direction(
            w[d].reshape(gates, width, -1),
            r[d].reshape(gates, width, width),
            bias[d, : gates * width].reshape(gates, width),
            bias[d, gates * width :].reshape(gates, width),
            None if peepholes is None else peepholes[d].reshape(3, width),
            functions[d],
            backwards,
        )
        for d, backwards in enumerate(reverse)
    )


def _functions(node: ir.Node, directions: int) -> list[tuple[Function, ...]]:
    """Activations by direction; alphas and betas are listed for those functions only that have them."""
    defaults = _DEFAULTS[node.op_type]
    names = [_plain(n) for n in attribute(node, "activations") or defaults * directions]
    alphas, betas = (list(attribute(node, f"activation_{k}") or []) for k in ("alpha", "beta"))
    functions = []
    for name in names:
        alpha, beta = ACTIVATIONS.get(name, (None, None))
        alpha = alphas.pop(0) if alpha is not None and alphas else alpha
        functions.append(Function(name, alpha, betas.pop(0) if beta is not None and betas else beta))
    size = len(defaults)
    return [tuple(functions[i * size : (i + 1) * size]) for i in range(directions)]


def _plain(name: str) -> str:
    """ONNX's own spelling; the names are written in any case."""
    return next((known for known in ACTIVATIONS if known.lower() == name.lower()), name)
