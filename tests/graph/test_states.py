"""States of streaming networks: pairs of input and output that a loop of calls feeds back."""

from __future__ import annotations

import json

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import parsed

from n6convert.graph.states import KEY, find_states, note_states, noted_states

H, B = 3, 1
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def streaming(op: str, body: str, inputs: str, outputs: str) -> ir.Model:
    n = GATES[op] * H
    weights = {"w": np.ones((1, n, 2), np.float32), "r": np.ones((1, n, H), np.float32)}
    s = np.array([1, B, H], np.int64)
    return parsed(body, f"float[1,{B},2] x, {inputs}", outputs, 14, f=np.array([B, H], np.int64), s=s, **weights)


STATE, OUT = f"float[1,{B},{H}]", "float[] y, "


def test_a_cell_with_its_state_outside() -> None:
    lstm = "y, h1, c1 = LSTM<hidden_size=3>(x, w, r, , , h0, c0)"
    model = streaming("LSTM", lstm, f"{STATE} h0, {STATE} c0", f"{OUT}{STATE} h1, {STATE} c1")
    assert find_states(model) == {"h0": "h1", "c0": "c1"}
    note_states(model)
    assert json.loads(model.metadata_props[KEY]) == noted_states(model.metadata_props) == {"h0": "h1", "c0": "c1"}


@pytest.mark.parametrize("op", ["GRU", "RNN"])
def test_moves_on_the_way_are_seen_through(op: str) -> None:
    body = f"u = Reshape(h0, s) y, v = {op}<hidden_size=3>(x, w, r, , , u) h1 = Reshape(v, f)"
    model = streaming(op, body, f"float[{B},{H}] h0", f"{OUT}float[{B},{H}] h1")
    assert find_states(model) == {"h0": "h1"}


@pytest.mark.parametrize(("body", "outputs", "why"), [
    ("y, h1 = GRU<hidden_size=3>(x, w, r, , , h0)", "float[] y", "the last state is no output"),
    ("y, v = GRU<hidden_size=3>(x, w, r, , , h0) h1 = Tanh(v)", f"{OUT}{STATE} h1", "more than moved"),
    ("u = Tanh(h0) y, h1 = GRU<hidden_size=3>(x, w, r, , , u)", f"{OUT}{STATE} h1", "computed before"),
    ("y, v = GRU<hidden_size=3>(x, w, r, , , h0) h1 = Reshape(v, f)", f"{OUT}float[1,3] h1", "another shape"),
    ("y, h1 = GRU<hidden_size=3>(x, w, r)", f"{OUT}{STATE} h1", "starts from zeros"),
    ("y = Relu(h0)", "float[] y", "no cell"),
])  # fmt: skip
def test_what_is_no_state(body: str, outputs: str, why: str) -> None:
    model = streaming("GRU", body, f"{STATE} h0", outputs)
    assert find_states(model) == {}, why
    note_states(model)
    assert KEY not in model.metadata_props and noted_states(model.metadata_props) == {}
