"""Recurrent nodes as they are read: a loop in numpy over what was read gives what onnxruntime gives for the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import Array, drawn, node_of, parsed

from n6convert.graph.patterns.recurrent import ACTIVATIONS, GATES, Cell, Direction, Function, read_cell
from n6convert.runtime.session import run_model

STEPS, BATCH, INPUTS, WIDTH = 3, 2, 4, 5
COUNT = {op: len(gates) for op, gates in GATES.items()}


def cell(op: str, attributes: str = "", directions: int = 1, bias: bool = True, tail: str = "", inputs: str = "",
         **constants: Any) -> ir.Model:  # fmt: skip
    random = np.random.default_rng(len(attributes) + directions)
    n = COUNT[op] * WIDTH
    weights = {"w": (directions, n, INPUTS), "r": (directions, n, WIDTH)} | ({"b": (directions, 2 * n)} if bias else {})
    drawn_ones = {k: random.uniform(-1, 1, s).astype(np.float32) for k, s in weights.items()} | constants
    given = f"<hidden_size={WIDTH}{', ' if attributes else ''}{attributes}>"
    body = f"y = {op}{given}(x, w, r{', b' if bias else ', ' if tail else ''}{tail})"
    return parsed(body, f"float[{STEPS},{BATCH},{INPUTS}] x{inputs}", "float[] y", 14, **drawn_ones)


def apply(function: Function, x: Array) -> Array:
    a, b = function.alpha, function.beta
    forms: dict[str, Any] = {
        "Sigmoid": lambda: 1 / (1 + np.exp(-x)),
        "Tanh": lambda: np.tanh(x),
        "Relu": lambda: np.maximum(x, 0),
        "LeakyRelu": lambda: np.where(x < 0, a * x, x),
        "HardSigmoid": lambda: np.clip(a * x + b, 0, 1),
        "Affine": lambda: a * x + b,
        "ScaledTanh": lambda: a * np.tanh(b * x),
    }
    return np.asarray(forms[function.name]())


def pass_over(cell: Cell, d: Direction, op: str, x: Array) -> Array:
    """One direction of the cell, by the formulas of ONNX's operator, from zero states."""
    h = c = np.zeros((cell.batch, cell.width))
    outputs = np.zeros((cell.steps, cell.batch, cell.width))
    limit = np.inf if cell.clip is None else cell.clip
    for t in reversed(range(cell.steps)) if d.reverse else range(cell.steps):
        fromx = [x[t] @ w.T + b for w, b in zip(d.w, d.w_bias, strict=True)]
        fromh = [h @ r.T + b for r, b in zip(d.r, d.r_bias, strict=True)]
        act = [lambda v, f=f: apply(f, np.clip(v, -limit, limit)) for f in d.functions]
        if op == "RNN":
            h = act[0](fromx[0] + fromh[0])
        elif op == "GRU":
            z, r = (act[0](fromx[i] + fromh[i]) for i in (0, 1))
            inner = r * fromh[2] if cell.reset_behind else (r * h) @ d.r[2].T + d.r_bias[2]
            h = (1 - z) * act[1](fromx[2] + inner) + z * h
        else:
            p = np.zeros((3, cell.width)) if d.peepholes is None else d.peepholes
            i = act[0](fromx[0] + fromh[0] + p[0] * c)
            f = 1 - i if cell.coupled else act[0](fromx[2] + fromh[2] + p[2] * c)
            new = f * c + i * act[1](fromx[3] + fromh[3])
            h = act[0](fromx[1] + fromh[1] + p[1] * new) * apply(d.functions[2], new)  # the state itself is not clipped
            c = new
        outputs[t] = h
    return outputs


def holds(model: ir.Model, op: str) -> Cell:
    found = read_cell(node_of(model, op))
    assert found is not None and (found.steps, found.batch, found.width) == (STEPS, BATCH, WIDTH)
    feeds = drawn({"x": (STEPS, BATCH, INPUTS)})
    wanted = run_model(model, feeds)["y"]
    ours = np.stack([pass_over(found, d, op, feeds["x"]) for d in found.directions], 1)
    np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5)
    return found


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("bias", [True, False])
def test_weights_by_direction(op: str, direction: str, bias: bool) -> None:
    both = direction == "bidirectional"
    found = holds(cell(op, f'direction="{direction}"', 1 + both, bias), op)
    assert [d.reverse for d in found.directions] == ([False, True] if both else [direction == "reverse"])


@pytest.mark.parametrize(("op", "attributes"), [
    ("GRU", "linear_before_reset=1"),
    ("GRU", "clip=0.3"),
    ("LSTM", "clip=0.3"),
    ("GRU", 'activations=["SIGMOID","relu"]'),
    ("RNN", 'activations=["LeakyRelu"], activation_alpha=[0.3]'),
    ("LSTM", 'activations=["HardSigmoid","Tanh","Affine"], activation_alpha=[0.25,0.5], activation_beta=[0.4,0.1]'),
    ("GRU", 'activations=["Sigmoid","ScaledTanh"], activation_alpha=[1.5], activation_beta=[0.7]'),
])  # fmt: skip
def test_attributes_and_functions(op: str, attributes: str) -> None:
    holds(cell(op, attributes), op)


def test_two_directions_have_functions_of_their_own() -> None:
    """alphas are listed for those functions only that have one: the LeakyRelu of the way back takes the first."""
    found = holds(
        cell("RNN", 'direction="bidirectional", activations=["Tanh","LeakyRelu"], activation_alpha=[0.2]', 2), "RNN"
    )
    names = [d.functions for d in found.directions]
    assert [f[0].name for f in names] == ["Tanh", "LeakyRelu"] and names[1][0].alpha == pytest.approx(0.2)


def test_peepholes_look_at_the_cell() -> None:
    p = np.random.default_rng(3).uniform(-1, 1, (1, 3 * WIDTH)).astype(np.float32)
    found = holds(cell("LSTM", tail=", , , , p", p=p), "LSTM")
    assert found.directions[0].peepholes is not None and found.h is None and found.c is None


def test_forget_and_input_gate_coupled_are_read() -> None:
    found = read_cell(node_of(cell("LSTM", "input_forget=1"), "LSTM"))
    assert found is not None and found.coupled and not found.reset_behind


@pytest.mark.parametrize("change", ["layout=1", "open weights", "open bias", "open steps", "open peepholes"])
def test_what_is_not_known_is_not_read(change: str) -> None:
    if change == "layout=1":
        model = cell("LSTM", "layout=1")
    elif change == "open peepholes":
        model = cell("LSTM", tail=", , , , p", inputs=f", float[1,{3 * WIDTH}] p")
    elif change == "open steps":
        model = cell("LSTM")
        model.graph.inputs[0].shape = ir.Shape(["frames", BATCH, INPUTS])
    else:
        model = cell("LSTM")
        value = model.graph.initializers.pop("r" if change == "open weights" else "b")
        value.const_value = None
        model.graph.inputs.append(value)
    assert read_cell(node_of(model, "LSTM")) is None


def test_what_speaks_against_unrolling() -> None:
    def reason(model: ir.Model, most: int = 10) -> str | None:
        found = read_cell(node_of(model, "GRU"))
        assert found is not None
        return found.against(most)

    lengths = {"tail": ", l"}
    assert reason(cell("GRU")) is None and reason(cell("GRU"), STEPS) is None
    assert "rewrite.recurrent_steps" in str(reason(cell("GRU"), STEPS - 1))
    assert reason(cell("GRU", **lengths, l=np.full(BATCH, STEPS, np.int32))) is None  # type: ignore[arg-type]
    assert "[3, 2]" in str(reason(cell("GRU", **lengths, l=np.array([3, 2], np.int32))))  # type: ignore[arg-type]
    assert "computed" in str(reason(cell("GRU", **lengths, inputs=f", int32[{BATCH}] l")))  # type: ignore[arg-type]
    assert "Elu" in str(reason(cell("GRU", 'activations=["Sigmoid","Elu"], activation_alpha=[1.0]')))
    assert "Elu" not in ACTIVATIONS
