"""Seeded recurrent cells as ONNX writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from .graphs import GraphWriter

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": 3, "GRU": 2, "RNN": 2}
FUNCTIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
_WITH_ALPHA = ("LeakyRelu", "HardSigmoid", "Affine", "ScaledTanh")
_WITH_BETA = ("HardSigmoid", "Affine", "ScaledTanh")


def add_cell(
    g: GraphWriter,
    op: str,
    x: str,
    sizes: tuple[int, int, int, int, int],
    states: Sequence[str] = (),
    lengths: Sequence[int] | str | None = None,
    bias: bool = True,
    peepholes: bool = False,
    **attributes: Any,
) -> list[str]:
    """A cell on ``x``; ``sizes``: steps, batch, inputs, state, directions; ``states``: names, ``""`` for none."""
    _, batch, inputs, width, directions = sizes
    gates = GATES[op] * width
    given = [
        x,
        g.weight(directions, gates, inputs),
        g.weight(directions, gates, width),
        g.constant(0.3 * g.random.standard_normal((directions, 2 * gates))) if bias else "",
        lengths if isinstance(lengths, str) else "" if lengths is None else g.constant(lengths, np.int32),
        *(states or [""]),
    ]
    if peepholes:
        given += [""] * (7 - len(given)) + [g.constant(0.3 * g.random.standard_normal((directions, 3 * width)))]
    while not given[-1]:
        given.pop()
    direction = "bidirectional" if directions == 2 else "forward"
    written = {"hidden_size": width, "direction": direction} | attributes
    return list(g.node(op, *given, outputs=OUTPUTS[op], **written))


def random_cell(seed: int) -> ir.Model:
    """A cell with attributes, states and outputs drawn at random."""
    g = GraphWriter(seed)
    draw = g.random
    op = str(draw.choice(list(GATES)))
    directions = int(draw.choice([1, 1, 2]))
    sizes = int(draw.integers(1, 5)), int(draw.choice([1, 1, 3])), int(draw.integers(1, 6)), int(draw.integers(1, 6))
    kinds = draw.choice(["input", "constant", "zero", "absent"], 2 if op == "LSTM" else 1)
    states = [_state(g, f"state{i}", str(kind), (directions, sizes[1], sizes[3])) for i, kind in enumerate(kinds)]
    options: dict[str, Any] = {"linear_before_reset": int(draw.integers(2))} if op == "GRU" else {}
    if op == "LSTM":
        options |= {"peepholes": bool(draw.integers(2)), "input_forget": int(draw.integers(4) == 0)}
    if draw.integers(3) == 0:
        options["clip"] = float(draw.choice([0.3, 0.8]))
    if directions == 1 and draw.integers(2):
        options["direction"] = "reverse"
    if draw.integers(3) == 0:
        options |= _functions(g, FUNCTIONS[op] * directions)
    if draw.integers(4) == 0:
        options["lengths"] = [sizes[0]] * sizes[1]
    x = g.input("x", sizes[:3])
    outputs = add_cell(g, op, x, (*sizes, directions), states, bias=bool(draw.integers(4)), **options)
    return g.model(*[o for o in outputs if draw.integers(2)] or outputs[:1])


def _state(g: GraphWriter, name: str, kind: str, shape: tuple[int, ...]) -> str:
    if kind == "input":
        return g.input(name, shape)
    if kind == "absent":
        return ""
    return g.constant(0.5 * g.random.standard_normal(shape) if kind == "constant" else np.zeros(shape))


def _functions(g: GraphWriter, count: int) -> dict[str, Any]:
    names = [str(n) for n in g.random.choice(["Sigmoid", "Tanh", "Relu", *_WITH_ALPHA], count)]
    alpha = [float(g.random.uniform(0.1, 0.5)) for n in names if n in _WITH_ALPHA]
    beta = [float(g.random.uniform(0.1, 0.5)) for n in names if n in _WITH_BETA]
    found = {"activations": names, "activation_alpha": alpha, "activation_beta": beta}
    return {key: value for key, value in found.items() if value}


def keyword_spotter(op: str, bins: int, frames: int, width: int, classes: int = 6, seed: int = 0) -> ir.Model:
    """Log-mel frames [1, bins, frames] to logits, by one recurrent cell, as ``torch.onnx`` writes it."""
    g = GraphWriter(seed)
    rows = g.node("Transpose", g.input("frames", [1, bins, frames]), perm=[2, 0, 1])
    options = {"linear_before_reset": 1} if op == "GRU" else {}
    last = add_cell(g, op, rows, (frames, 1, bins, width, 1), **options)[1]
    flat = g.node("Squeeze", last, g.constant([0], np.int64))
    return g.model(g.node("Gemm", flat, g.weight(width, classes), g.vector(classes)))
