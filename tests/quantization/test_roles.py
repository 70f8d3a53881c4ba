"""What inputs of operators are to the quantizer, and forms that it prepares: equal functions, proven by runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, node_of, parsed, value_of

from n6convert.errors import QuantizationError
from n6convert.quantization.prepare import batch_norm
from n6convert.quantization.prepare.attention_masks import clamp_masks
from n6convert.quantization.prepare.linear import fuse_linear
from n6convert.quantization.topology.roles import activations, check_supported, float_operands, without_form
from n6convert.runtime.session import run_model


def net(
    body: str, inputs: str = "float[1,4,6,6] x", outputs: str = "float[] y", opset: int = 17, **constants: Any
) -> ir.Model:
    return parsed(body, inputs, outputs, opset, **constants)


def roles(model: ir.Model, op: str) -> list[tuple[int, str, int | None]]:
    return [(o.index, o.role, o.axis) for o in float_operands(node_of(model, op))]


A, W, B, C = "activation", "weight", "bias", "constant"


@pytest.mark.parametrize(("body", "op", "wanted"), [
    ("y = Conv(x, w, b)", "Conv", [(0, A, None), (1, W, 0), (2, B, None)]),
    ("y = Conv(x, w)", "Conv", [(0, A, None), (1, W, 0)]),
    ("n = Neg(w) y = Conv(x, n, b)", "Conv", [(0, A, None), (1, A, None), (2, C, None)]),
    ("y = ConvTranspose(x, w, b)", "ConvTranspose", [(0, A, None), (1, W, 1), (2, B, None)]),
    ("y = MatMul(x, m)", "MatMul", [(0, A, None), (1, W, 1)]), ("y = MatMul(m, x)", "MatMul", [(0, W, 0),
    (1, A, None)]),
    ("y = MatMul(x, v)", "MatMul", [(0, A, None), (1, C, None)]),
    ("y = MatMul(x, stack)", "MatMul", [(0, A, None), (1, W, 2)]), ("y = MatMul(stack, x)", "MatMul", [(0, W, 1),
    (1, A, None)]),
    ("y = MatMul(x, x)", "MatMul", [(0, A, None), (1, A, None)]),
    ("y = Add(x, b)", "Add", [(0, A, None), (1, C, None)]), ("y = Add(b, x)", "Add", [(0, C, None), (1, A, None)]),
    ("y = Clip(x, zero, one)", "Clip", [(0, A, None)]), ("y = Clip(x, , one)", "Clip", [(0, A, None)]),
    ("y = Resize(x, , scales)", "Resize", [(0, A, None)]), ("y = Gather(x, i)", "Gather", [(0, A, None)]),
    ("y = Pad(x, p, one)", "Pad", [(0, A, None)]), ("y = Where(t, x, b)", "Where", [(1, A, None), (2, C, None)]),
])  # fmt: skip
def test_roles_of_inputs(body: str, op: str, wanted: list[tuple[int, str, int | None]]) -> None:
    constants = {
        "w": np.ones((4, 4, 1, 1)), "b": np.ones(4 if "Conv" in body else 1), "m": np.ones((6, 6)), "v": np.ones(6),
        "stack": np.ones((4, 6, 6)), "zero": 0.0, "one": 1.0, "scales": [1.0, 1.0, 2.0, 2.0], "i": np.array([0]),
        "p": np.array([0] * 8), "t": np.array(True),
    }  # fmt: skip
    assert roles(net(body, **constants), op) == wanted


@pytest.mark.parametrize(("turned", "axis"), [(0, 1), (1, 0)])
def test_columns_of_a_gemm(turned: int, axis: int) -> None:
    model = net(f"y = Gemm<transB={turned}>(x, w, b)", "float[2,4] x", w=np.ones((4, 4)), b=np.ones(4))
    assert roles(model, "Gemm") == [(0, A, None), (1, W, axis), (2, B, None)]


def test_every_float_tensor_behind_an_input_once() -> None:
    model = net("a, b = Split<axis=1>(x) s = Shape(a) i = Cast<to=7>(b) c = Add(a, b) y = Relu(c)",
                "float[1,4] x, int64[1] ids, float[1] z")  # fmt: skip
    assert [v.name for v in activations(model.graph)] == ["x", "z", "a", "b", "c", "y"]


@pytest.mark.parametrize(("op", "version", "fine"), [
    ("Relu", None, True), ("Conv", (4, 0), True), ("Einsum", None, False), ("Softmax", (2, 1), True),
])  # fmt: skip
def test_operators_without_a_form_are_named(op: str, version: tuple[int, int] | None, fine: bool) -> None:
    model = net(f"y = {op}(x)")
    node = node_of(model, op)
    node.name = "the node"
    error = without_form(node, version)
    assert (error is None) == fine
    if error is not None:
        with pytest.raises(QuantizationError, match="no INT8 form") as caught:
            check_supported(model.graph, version)
        assert str(caught.value.place) == "node the node, tensor y" and caught.value.found == op and caught.value.remedy
    node.domain = "com.acme"
    foreign = without_form(node, version)
    assert foreign is not None and foreign.found == f"com.acme.{op}" and "standard ONNX" in str(foreign.remedy)


SHAPES = {"[4,6]": (4, 6), "[1,4,6]": (1, 4, 6), "[2,3,4,6]": (2, 3, 4, 6), "[6]": (6,)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["Add(p, b)", "Add(b, p)"])
@pytest.mark.parametrize("wide", [(5,), (1, 5)])
def test_a_product_and_a_sum_are_one_gemm(shape: str, order: str, wide: tuple[int, ...]) -> None:
    if shape == "[6]" and len(wide) > 1:
        wide = (5,)
    random = np.random.default_rng(0)
    constants = {"w": random.standard_normal((6, 5)), "b": random.standard_normal(wide)}
    model = net(f"p = MatMul(x, w) s = {order} y = Relu(s)", f"float{shape} x", **constants)
    feeds = drawn({"x": SHAPES[shape]})
    wanted = run_model(model.clone(), feeds)["y"]
    assert fuse_linear(model.graph) == 1
    kinds = [n.op_type for n in model.graph]
    assert "MatMul" not in kinds and "Add" not in kinds and kinds.count("Gemm") == 1
    assert kinds.count("Reshape") == (0 if len(SHAPES[shape]) == 2 else 2)
    found = run_model(model, feeds)["y"]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert roles(model, "Gemm")[2] == (2, B, None), "so the bias is int32"


@pytest.mark.parametrize(("body", "why"), [
    ("p = MatMul(x, w) y = Add(p, c)", "a constant along the rows"),
    ("p = MatMul(x, w) y = Add(p, x5)", "no constant"),
    ("p = MatMul(x, w) y = Sub(p, b)", "no sum"),
    ("p = MatMul(x, w) s = Add(p, b) y = Mul(s, p)", "the product is read twice"),
    ("p = MatMul(x, w3) y = Add(p, b)", "a stack of matrices"),
    ("p = MatMul(x, w) y = Add(p, one)", "one number for all channels"),
    ("p = MatMul(x, w) y = Add(p, full)", "a number for every element"),
    ("y = MatMul(x, w)", "nothing is added"),
])  # fmt: skip
def test_other_products_stay_apart(body: str, why: str) -> None:
    constants = {
        "w": np.ones((6, 5)),
        "w3": np.ones((1, 6, 5)),
        "b": np.ones(5),
        "c": np.ones((4, 1)),
        "one": [1.0],
        "full": np.ones((4, 5)),
    }
    model = net(body, "float[1,4,6] x, float[5] x5", **constants)
    assert fuse_linear(model.graph) == 0, why


def normalized(kind: str, groups: int = 1, more: str = "") -> ir.Model:
    random = np.random.default_rng(1)
    weight = (4, 6 // groups, 3, 3) if kind == "Conv" else (6, 4 // groups, 3, 3)
    constants = {n: random.uniform(0.5, 2, 4) * (1 if n == "v" else random.choice([-1, 1], 4)) for n in "gbmv"}
    body = f"c = {kind}<group={groups}>(x, w, k) y = BatchNormalization<epsilon=0.01>(c, g, b, m, v){more}"
    return net(body, "float[1,6,8,8] x", w=random.standard_normal(weight), k=random.standard_normal(4), **constants)


@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
@pytest.mark.parametrize("groups", [1, 2])
def test_a_normalization_joins_its_convolution(kind: str, groups: int) -> None:
    model = normalized(kind, groups)
    feeds = drawn({"x": (1, 6, 8, 8)})
    wanted = run_model(model.clone(), feeds)["y"]
    node = node_of(model, "BatchNormalization")
    batch_norm.remember(model.graph, node)
    mean, deviation = batch_norm.statistics(model.graph)["y"]
    assert batch_norm.fold_batch_norm(node)
    model.graph.remove(node, safe=True)
    assert [n.op_type for n in model.graph] == [kind] and [v.name for v in model.graph.outputs] == ["y"]
    np.testing.assert_allclose(run_model(model, feeds)["y"], wanted, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(mean, model.graph.initializers["b"].const_value.numpy())  # type: ignore[union-attr]
    assert (deviation > 0).all(), "what a negative factor turns is as wide"


def test_notes_of_channels_are_scaled_with_them_and_dropped_at_the_end() -> None:
    model = normalized("Conv")
    batch_norm.remember(model.graph, node_of(model, "BatchNormalization"))
    before = batch_norm.statistics(model.graph)["y"]
    factor = np.array([1.0, 2.0, 4.0, 0.5])
    batch_norm.rescale(model.graph, lambda name: factor)
    for old, new in zip(before, batch_norm.statistics(model.graph)["y"], strict=True):
        np.testing.assert_allclose(new, old / factor)
    batch_norm.forget(model.graph)
    batch_norm.rescale(model.graph, lambda name: factor)
    assert batch_norm.statistics(model.graph) == {}


@pytest.mark.parametrize("more", [" z = Relu(c)", ""])
def test_a_convolution_that_others_read_keeps_its_numbers(more: str) -> None:
    model = normalized("Conv", more=more)
    if not more:
        value_of(model, "c").producer().replace_input_with(2, None)  # type: ignore[union-attr]
    assert not batch_norm.fold_batch_norm(node_of(model, "BatchNormalization"))


@pytest.mark.parametrize("huge", [-3.4e38, -1e4, -float("inf")])
@pytest.mark.parametrize("how", ["Add(s, m)", "Add(m, s)", "Where(t, s, k)"])
def test_masks_are_as_negative_as_the_softmax_needs(huge: float, how: str) -> None:
    """Hidden scores still vanish, and the range is the scores' own."""
    mask = np.where(np.arange(6) < 4, 0.0, huge).astype(np.float32)
    model = net(f"s = Mul(x, three) l = {how} y = Softmax(l)", "float[1,4,6] x", three=3.0, m=mask, k=[huge],
                t=np.arange(6) < 4)  # fmt: skip
    samples = [drawn({"x": (1, 4, 6)}, seed) for seed in range(3)]
    wanted = [run_model(model.clone(), s)["y"] for s in samples]
    assert clamp_masks(model, samples, threads=1) == (["k"] if "Where" in how else ["m"])
    for sample, before in zip(samples, wanted, strict=True):
        np.testing.assert_allclose(run_model(model, sample)["y"], before, atol=2e-7)
    name = "k" if "Where" in how else "m"
    least = model.graph.initializers[name].const_value.numpy().min()  # type: ignore[union-attr]
    spread = max(float(np.ptp(3 * s["x"])) for s in samples)
    assert -2.2 * spread - 17 <= least <= -spread - 15


def test_constants_that_hide_nothing_stay() -> None:
    for body in ("l = Add(x, m) y = Softmax(l)", "l = Add(x, h) y = Relu(l)", "y = Softmax(x)"):
        model = net(body, "float[1,4,6] x", m=[-5.0], h=[-1e9])
        assert clamp_masks(model, [drawn({"x": (1, 4, 6)})], threads=1) == []
