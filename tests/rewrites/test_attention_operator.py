"""ONNX's Attention in all its forms, from the file to operators of the NPU, against attention written out in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import GraphError
from n6convert.graph.opset import upgrade_opset
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .helpers import NEW, software

Array = np.ndarray[Any, Any]


def attention(q: Array, k: Array, v: Array, mask: Array | None, causal: bool, cap: float, scale: float) -> Array:
    """Softmax(cap * tanh(scale q k / cap) + mask) v over [1, heads, places, size]; rows that see nothing are 0."""
    k, v = (np.repeat(a, q.shape[1] // a.shape[1], axis=1) for a in (k, v))
    scores = q @ k.transpose(0, 1, 3, 2) * scale
    scores = cap * np.tanh(scores / cap) if cap else scores
    if mask is not None:
        scores = scores + (np.where(mask, 0, -np.inf) if mask.dtype == bool else mask)
    if causal:
        rows, columns = scores.shape[2:]
        scores = np.where(np.tril(np.ones((rows, columns)), columns - rows) > 0, scores, -np.inf)
    with np.errstate(invalid="ignore"):
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares = np.nan_to_num(shares)
    return np.asarray(shares / np.maximum(shares.sum(axis=-1, keepdims=True), 1e-30) @ v)


def model_of(body: str, inputs: str, outputs: str, opset: int = 23, constants: Any = None) -> ir.Model:
    text = f'<ir_version: 11, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    proto = onnx.parser.parse_model(text)
    for name, array in (constants or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return ir.from_proto(proto)


def converted(model: ir.Model, sample: dict[str, Array]) -> ir.Model:
    made = rewrite(upgrade_opset(model, "here"), lambda: [sample], RewriteConfig(), threads=1).model
    assert not {n.op_type for n in made.graph} & {"Attention", "Where", "Equal", "ConstantOfShape", "MatMul"}
    return made


MASKS = ("none", "constant", "input", "numbers")


@settings(max_examples=14, deadline=None)
@given(
    st.sampled_from([23, 24]), st.sampled_from([(2, 2), (4, 2), (2, 1)]), st.sampled_from([(5, 5), (3, 6)]),
    st.sampled_from(MASKS), st.booleans(), st.sampled_from([0.0, 2.0]), st.booleans(), st.integers(0, 99),
)  # fmt: skip
def test_every_form_is_what_numpy_makes_of_it(
    opset: int,
    heads: tuple[int, int],
    places: tuple[int, int],
    kind: str,
    causal: bool,
    cap: float,
    flat: bool,
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    (many, few), (rows, columns), size = heads, places, 8
    causal = causal and rows == columns
    sides = {"q": (many, rows), "k": (few, columns), "v": (few, columns)}
    given = {n: rng.standard_normal((1, *side, size)).astype(np.float32) for n, side in sides.items()}
    mask: Array | None = rng.random((1, 1, 1 if kind == "input" else rows, columns)) < 0.7
    if kind in ("none", "numbers"):
        mask = None if kind == "none" else rng.standard_normal((rows, columns)).astype(np.float32)
    fed = {n: a.transpose(0, 2, 1, 3).reshape(1, a.shape[2], -1) if flat else a for n, a in given.items()}
    if kind == "input" and mask is not None:
        fed["m"] = np.broadcast_to(mask, (1, 1, rows, columns)).copy()
    inputs = [f"{'bool' if a.dtype == bool else 'float'}[{','.join(map(str, a.shape))}] {n}" for n, a in fed.items()]
    out = [1, rows, many * size] if flat else [1, many, rows, size]
    options = [f"is_causal={int(causal)}", f"softcap={cap}", "scale=0.3"]
    options += [f"q_num_heads={many}", f"kv_num_heads={few}"] if flat else []
    constants = {"m": mask} if kind in ("constant", "numbers") and mask is not None else {}
    body = f"y = Attention<{', '.join(options)}>(q, k, v{', m' if mask is not None else ''})"
    model = model_of(body, ", ".join(inputs), f"float[{','.join(map(str, out))}] y", opset, constants)
    wanted = attention(given["q"], given["k"], given["v"], mask, causal, cap, 0.3)
    wanted = wanted.transpose(0, 2, 1, 3).reshape(out) if flat else wanted
    found = run_model(converted(model, fed), fed)["y"]
    np.testing.assert_allclose(found, wanted, atol=2e-5)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_earlier_keys_and_values_come_in_and_all_go_out(causal: int, masked: bool) -> None:
    rng = np.random.default_rng(0)
    fed = {n: rng.standard_normal((1, 2, p, 8)).astype(np.float32) for n, p in (("q", 2), ("pk", 3), ("pv", 3))}
    mask = np.array([[1, 1, 0, 1, 1], [1, 1, 1, 1, 1]], bool)
    model = model_of(
        f"k = Neg(q) v = Relu(q) y, ok, ov = Attention<is_causal={causal}>(q, k, v, {'m' if masked else ''}, pk, pv)",
        "float[1,2,2,8] q, float[1,2,3,8] pk, float[1,2,3,8] pv",
        "float[1,2,2,8] y, float[1,2,5,8] ok, float[1,2,5,8] ov",
        constants={"m": mask} if masked else {},
    )
    found = run_model(converted(model, fed), fed)
    k = np.concatenate([fed["pk"], -fed["q"]], axis=2)
    v = np.concatenate([fed["pv"], np.maximum(fed["q"], 0)], axis=2)
    wanted = attention(fed["q"], k, v, mask if masked else None, bool(causal), 0.0, 8**-0.5)
    np.testing.assert_allclose(found["y"], wanted, atol=2e-5)
    np.testing.assert_array_equal(found["ok"], k)
    np.testing.assert_array_equal(found["ov"], v)


@pytest.mark.parametrize("form", ["causal", "bool"])
def test_nothing_of_it_is_left_to_the_cpu(form: str) -> None:
    options, mask, more = ("<is_causal=1>", "", "") if form == "causal" else ("", ", m", ", bool[1,1,1,6] m")
    body = f"k = Neg(x) v = Relu(x) y = Attention{options}(x, k, v{mask})"
    model = model_of(body, f"float[1,4,6,8] x{more}", "float[1,4,6,8] y")
    sample: dict[str, Array] = {"x": np.ones((1, 4, 6, 8), np.float32)}
    sample |= {"m": np.ones((1, 1, 1, 6), bool)} if mask else {}
    assert not software(converted(model, sample), NEW)


def test_a_mask_for_a_long_sequence_is_folded() -> None:
    mask = np.tril(np.ones((160, 160))) > 0
    model = model_of(
        "k = Neg(x) y = Attention(x, k, x, m)", "float[1,1,160,4] x", "float[1,1,160,4] y", constants={"m": mask}
    )
    x = np.random.default_rng(0).standard_normal((1, 1, 160, 4)).astype(np.float32)
    found = run_model(converted(model, {"x": x}), {"x": x})["y"]
    np.testing.assert_allclose(found, attention(x, -x, x, mask, False, 0.0, 0.5), atol=3e-4)  # exp ends at -14


@pytest.mark.parametrize(
    ("body", "operator"),
    [("y = Attention(x, x, x, , , , n)", "Attention"), ("y = TensorScatter(x, x, n)", "TensorScatter")],
)
def test_lengths_that_only_a_run_knows_are_refused_by_the_operators_name(body: str, operator: str) -> None:
    model = model_of(body, "float[1,2,6,8] x, int64[1] n", "float[1,2,6,8] y", 24)
    with pytest.raises(GraphError, match=operator):
        upgrade_opset(model, "here")


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("turned", [8, 4])
def test_rotary_embeddings_turn_pairs_of_channels(interleaved: int, turned: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 2, 5, 8)).astype(np.float32)
    angles = rng.standard_normal((1, 5, turned // 2)).astype(np.float32)
    options = f"interleaved={interleaved}" + (f", rotary_embedding_dim={turned}, num_heads=2" if turned < 8 else "")
    model = model_of(
        f"n = Neg(x) r = RotaryEmbedding<{options}>(n, c, s) y = Swish(r)", "float[1,2,5,8] x", "float[1,2,5,8] y", 24,
        {"c": np.cos(angles), "s": np.sin(angles)},
    )  # fmt: skip
    pairs = (
        [slice(0, turned, 2), slice(1, turned, 2)] if interleaved else [slice(turned // 2), slice(turned // 2, turned)]
    )
    real, imaginary = (-x[..., p] for p in pairs)
    wanted = -x
    wanted[..., pairs[0]] = real * np.cos(angles) - imaginary * np.sin(angles)
    wanted[..., pairs[1]] = real * np.sin(angles) + imaginary * np.cos(angles)
    made = converted(model, {"x": x})
    np.testing.assert_allclose(run_model(made, {"x": x})["y"], wanted / (1 + np.exp(-wanted)), atol=1e-5)
    assert all(v.uses() or v.is_graph_output() for n in made.graph for v in n.outputs), "nothing is left unread"
    assert not software(made, NEW)
