"""Grids of a file follow their tensors through renames and moves; other styles than QDQ are told apart."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
from onnx_text import parsed, value_of

from n6convert.errors import SourceError
from n6convert.requantization.grids import (
    KEY,
    carry,
    collect_grids,
    given_count,
    mark_grids,
    note_grids,
    noted_grids,
    origins,
)
from n6convert.requantization.style import quantized_style, refuse_other_styles


def net() -> ir.Model:
    return parsed("t = Relu(x) v = Transpose(t) y = Neg(v)", "float[2,3] x", "float[] y")


def test_notes_are_read_as_they_were_written() -> None:
    model = net()
    assert noted_grids({}) == {} == origins({}) and given_count({}) == 0
    note_grids(model, {"t": (-1.0, 0.1), "gone": (0.0, 6.0)})
    assert noted_grids(model.metadata_props) == {"t": (-1.0, 0.1), "gone": (0.0, 6.0)}
    assert origins(model.metadata_props) == {"t": "t", "gone": "gone"} and given_count(model.metadata_props) == 2


def test_a_range_follows_its_tensor_to_another_name() -> None:
    model = net()
    note_grids(model, {"t": (-1.0, 2.0), "gone": (0.0, 6.0)})
    mark_grids(model)
    value_of(model, "t").name = "t/~rule"
    collect_grids(model)
    assert noted_grids(model.metadata_props) == {"t/~rule": (-1.0, 2.0)}, "what has no tensor has no range"
    assert origins(model.metadata_props) == {"t/~rule": "t"} and given_count(model.metadata_props) == 2
    assert not any(KEY in v.metadata_props for n in model.graph for v in n.outputs), "marks are taken off"


def test_what_a_tensor_was_only_moved_from_has_its_range_too() -> None:
    model = net()
    note_grids(model, {"v": (-1.0, 2.0)})
    mark_grids(model)
    collect_grids(model)
    assert noted_grids(model.metadata_props) == {"v": (-1.0, 2.0), "t": (-1.0, 2.0)}
    assert origins(model.metadata_props) == {"v": "v", "t": "v"}


def test_a_range_of_its_own_is_not_written_over() -> None:
    model = net()
    note_grids(model, {"v": (-1.0, 2.0), "t": (0.0, 9.0)})
    mark_grids(model)
    collect_grids(model)
    assert noted_grids(model.metadata_props) == {"v": (-1.0, 2.0), "t": (0.0, 9.0)}


def test_a_replacement_takes_the_range_over() -> None:
    model, other = net(), net()
    mark = json.dumps([0.0, 1.0, "file"])
    value_of(model, "y").metadata_props[KEY] = mark
    carry(value_of(model, "y"), value_of(other, "v"))
    held = {v.name for n in other.graph for v in n.outputs if v.metadata_props.get(KEY) == mark}
    assert held == {"v", "t"}, "back to the Relu, which computes"
    carry(value_of(model, "x"), value_of(other, "y"))
    assert KEY not in value_of(other, "y").metadata_props


def test_a_float_model_stays_without_notes() -> None:
    model = net()
    mark_grids(model)
    collect_grids(model)
    assert KEY not in model.metadata_props


PAIR = "y = DequantizeLinear({}, s, z)"


@pytest.mark.parametrize(("body", "style"), [
    ("y = Relu(x)", None),
    (f"q = QuantizeLinear(x, s, z) {PAIR.format('q')}", "qdq"),
    (f"q = QuantizeLinear(x, s, z) m = QLinearMatMul(q, s, z, w, s, z, s, z) {PAIR.format('m')}", "qoperator"),
    ("q, a, b = DynamicQuantizeLinear(x) i = MatMulInteger(q, w) y = Cast<to=1>(i)", "dynamic"),
])  # fmt: skip
def test_styles(body: str, style: str | None) -> None:
    model = parsed(body, "float[2,2] x, float s, uint8 z, uint8[2,2] w", "float[2,2] y")
    assert quantized_style(model) == style
    if style != "dynamic":
        refuse_other_styles(model, "net.onnx")
        return
    with pytest.raises(SourceError, match="quantized dynamically") as caught:
        refuse_other_styles(model, "net.onnx")
    assert caught.value.found == "DynamicQuantizeLinear, MatMulInteger" and caught.value.place == "net.onnx"
