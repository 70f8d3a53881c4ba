"""The few forms that the quantizer handles: the same function as the operator that was written, proven by runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, node_of, parsed

from n6convert.errors import QuantizationError
from n6convert.quantization.prepare.operator_forms import constant, new_constant, normalize, set_constant, take_over
from n6convert.quantization.prepare.prepare import prepare
from n6convert.runtime.session import run_model

RANDOM = np.random.default_rng(4)
CONSTANTS: dict[str, Any] = {
    "w": RANDOM.standard_normal((4, 3)), "wt": RANDOM.standard_normal((3, 4)), "b": RANDOM.standard_normal(3),
    "row": RANDOM.standard_normal((1, 3)), "column": RANDOM.standard_normal((2, 1)),
    "full": RANDOM.standard_normal((2, 3)),
    "one": RANDOM.standard_normal(1), "scalar": 0.7, "two": 2.0, "three": 3.0, "g": RANDOM.standard_normal(4),
    "h": RANDOM.standard_normal(4), "zero": 0.0, "pads": np.array([0, 1, 0, 0]), "yes": np.array(False), "half": 0.5,
    "m": RANDOM.standard_normal(4), "v": RANDOM.uniform(0.5, 2, 4), "k": RANDOM.standard_normal((4, 4, 1, 1)),
}  # fmt: skip


def net(body: str, inputs: str = "float[2,4] x", outputs: str = "float[] y") -> ir.Model:
    model = parsed(body, inputs, outputs, **CONSTANTS)
    for node in model.graph:
        node.name = f"{node.op_type} of {node.outputs[0].name}"
    return model


def normalized(model: ir.Model) -> ir.Model:
    """The model with its forms, after it gave the same numbers."""
    feeds = drawn({v.name or "": [int(d) for d in v.shape or ()] for v in model.graph.inputs})
    wanted = run_model(model.clone(), feeds)
    whole = prepare(model)
    normalize(model.graph)
    for found in (run_model(model, feeds), run_model(whole, feeds)):
        assert found.keys() == wanted.keys()
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-4, atol=1e-5)
    return model


@pytest.mark.parametrize("bias", ["", ", b", ", row", ", column", ", full", ", one", ", scalar"])
@pytest.mark.parametrize("attributes", ["", "alpha=0.5", "beta=2.0", "alpha=-1.5, beta=0.25", "beta=0.0"])
@pytest.mark.parametrize("turned", [0, 1])
def test_every_gemm_has_a_vector_as_its_bias(bias: str, attributes: str, turned: int) -> None:
    if not bias and "beta" in attributes:
        attributes = attributes.replace("beta=2.0", "").replace(", beta=0.25", "").replace("beta=0.0", "")
    given = ", ".join(part for part in (attributes, f"transB={turned}") if part)
    model = normalized(net(f"y = Gemm<{given}>(x, {'wt' if turned else 'w'}{bias})"))
    gemm = node_of(model, "Gemm")
    assert constant(gemm.inputs[2]).shape == (3,) and set(gemm.attributes) <= {"transB"}
    assert [n.op_type for n in model.graph] == ["Gemm"] + (["Add"] if bias in (", column", ", full") else [])


def test_a_sum_by_rows_goes_to_every_reader_and_output() -> None:
    model = normalized(net("y = Gemm(x, w, full) z = Relu(y) u = Mul(y, y)", outputs="float[] y, float[] z, float[] u"))
    assert [v.name for v in model.graph.outputs] == ["y", "z", "u"] and node_of(model, "Add").outputs[0].name == "y"


@pytest.mark.parametrize("body", ["y = Gemm(x, x2, b)", "y = Gemm(x, w, x3)"])
def test_products_of_two_activations_are_no_layers(body: str) -> None:
    model = net(body, "float[2,4] x, float[4,3] x2, float[3] x3")
    with pytest.raises(QuantizationError, match="Gemm needs a constant") as caught:
        normalize(model.graph)
    assert "Gemm of y" in str(caught.value.place) and "MatMul" in str(caught.value.remedy)


IMAGE = "float[1,4,5,6] x"


@pytest.mark.parametrize(("body", "left"), [
    ("y = Pow(x, two)", ["Mul"]), ("y = Pow(x, three)", ["Pow"]), ("y = Dropout(x, half, yes)", ["Identity"]),
    ("d = Dropout(x, half, yes) y = Relu(d)", ["Dropout", "Relu"]),
    ("y = BatchNormalization(x, g, h, m, v)", ["Mul", "Add"]),
    ("c = Conv(x, k) y = BatchNormalization(c, g, h, m, v)", ["Conv", "BatchNormalization"]),
    ("c = ConvTranspose(x, k) y = BatchNormalization(c, g, h, m, v)", ["ConvTranspose", "BatchNormalization"]),
    ("y = Conv(x, k)", ["Conv"]), ("y = ConvTranspose<group=1>(x, k)", ["ConvTranspose"]),
])  # fmt: skip
def test_forms_of_maps(body: str, left: list[str]) -> None:
    model = normalized(net(body, IMAGE))
    assert [n.op_type for n in model.graph] == left
    for node in model.graph:
        assert node.op_type not in ("Conv", "ConvTranspose") or constant(node.inputs[2]).shape == (4,)
    if "BatchNormalization" in left:
        assert not node_of(model, "BatchNormalization").outputs[0].uses(), "folded: nobody reads it"


@pytest.mark.parametrize(("axis", "shape"), [(-1, "2,4"), (1, "2,4"), (-1, "1,3,4"), (2, "1,3,4")])
@pytest.mark.parametrize("shift", ["", ", h"])
def test_layer_norm_in_steps(axis: int, shape: str, shift: str) -> None:
    model = normalized(net(f"y = LayerNormalization<axis={axis}, epsilon=0.25>(x, g{shift})", f"float[{shape}] x"))
    kinds = ["ReduceMean", "Sub", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Mul"] + ["Add"] * bool(shift)
    assert [n.op_type for n in model.graph] == kinds


def test_a_pad_of_zeros_needs_no_value() -> None:
    model = normalized(net("y = Pad(x, pads, zero)"))
    assert len(node_of(model, "Pad").inputs) == 2
    assert len(node_of(normalized(net("y = Pad(x, pads, two)")), "Pad").inputs) == 3


def test_constants_get_free_names_and_new_numbers() -> None:
    model = net("y = Add(x, h)")
    made = [new_constant(model.graph, "h", np.float32([i])).name for i in range(3)]
    assert made == ["h_", "h__", "h___"] and len(model.graph.initializers) == len(CONSTANTS) + 3
    value = model.graph.initializers["h_"]
    set_constant(value, np.ones((2, 4), np.float32)[:, ::2])
    assert constant(value).tolist() == [[1, 1]] * 2 and tuple(value.shape or ()) == (2, 2)


def test_a_scalar_keeps_its_rank() -> None:
    """Its numbers had an axis that its shape did not have: written and read again, shapes could not be inferred."""
    model = net("y = Add(x, h)")
    value = new_constant(model.graph, "s", np.array(1.0, np.float32))
    assert constant(value).shape == () == tuple(value.shape or ())
    set_constant(value, np.array(2.0, np.float32))
    assert constant(value).shape == () == tuple(value.shape or ())


def test_nodes_take_the_place_and_the_name_of_one() -> None:
    model = net("t = Neg(x) y = Relu(t)")
    old = node_of(model, "Neg")
    steps = [ir.node("Abs", [old.inputs[0]]), ir.node("Exp", [])]
    steps[1] = ir.node("Exp", [steps[0].outputs[0]])
    steps[0].outputs[0].name = "inner"
    take_over(model.graph, old, steps)
    assert [n.op_type for n in model.graph] == ["Abs", "Exp", "Relu"] and steps[1].outputs[0].name == "t"
    feeds = drawn({"x": (2, 4)})
    np.testing.assert_allclose(run_model(model, feeds)["y"], np.exp(np.abs(feeds["x"])), rtol=1e-6)
