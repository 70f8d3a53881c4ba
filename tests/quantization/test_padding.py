"""Padding of text models: found by the mask's way through the graph, and kept out of every figure."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.padding import tokens_alone, tokens_of, without_padding
from n6convert.recipe.quantization import Effort, Weights
from n6convert.runtime.session import run_model

from .nets import parse

BODY = """
net (float[1,4,6] x, float[1,1,4] mask) => (float[1,4,6] z) {
  k = Transpose <perm = [0, 2, 1]> (x)
  scores = MatMul(x, k)
  masked = Add(scores, mask)
  p = Softmax <axis = -1> (masked)
  z = MatMul(p, x)
}"""
MASK = np.array([[[0, 0, 0, -16]]], np.float32)


def sample(mask: np.ndarray = MASK) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).standard_normal((1, 4, 6)).astype(np.float32), "mask": mask}


def test_the_mask_tells_the_tokens() -> None:
    graph = parse(BODY).graph
    assert tokens_of(graph, sample()).tolist() == [True, True, True, False]
    assert tokens_of(graph, sample(np.zeros_like(MASK))) is None
    assert tokens_of(graph, sample(MASK / 8)) is None  # -2 hides nothing


def test_an_attention_mask_of_ones_and_zeros() -> None:
    body = BODY.replace("float[1,1,4] mask", "int64[1,4] ids, int64[1,4] mask").replace(
        "masked = Add(scores, mask)",
        "f = Cast <to = 1> (mask)\n u = Unsqueeze(f, one)\n s = Mul(u, big)\n masked = Add(scores, s)\n"
        "rows = Gather(table, ids)",
    )
    constants = {"one": np.array([1]), "big": np.float32(1.0), "table": np.zeros((2, 6), np.float32)}
    bits = np.array([[1, 1, 0, 0]])
    feeds = sample() | {"mask": bits, "ids": np.array([[1, 0, 1, 1]])}
    assert tokens_of(parse(body, **constants).graph, feeds).tolist() == [True, True, False, False]


def test_numbers_that_are_no_mask() -> None:
    """The same values, multiplied instead of added."""
    graph = parse(
        BODY.replace("Add(scores, mask)", "MatMul(scores, w)")
        .replace("float[1,1,4] mask", "float[1,1,4] mask, float[1,4,4] w")
        .replace("z = MatMul(p, x)", "q = MatMul(mask, p)\n z = MatMul(p, x)")
    ).graph
    feeds = sample() | {"w": np.ones((1, 4, 4), np.float32)}
    assert tokens_of(graph, feeds) is None


def test_only_outputs_with_a_row_a_place_lose_rows() -> None:
    tokens = np.array([True, False, True])
    assert without_padding(np.ones((1, 3, 5)), tokens).shape == (1, 2, 5)
    assert without_padding(np.ones((1, 2)), tokens).shape == (1, 2)
    assert without_padding(np.ones((3, 3)), tokens).shape == (3, 3)
    assert without_padding(np.ones((1, 3, 5)), None).shape == (1, 3, 5)


def test_maps_whose_places_are_the_sequence_lose_them() -> None:
    tokens, wide = np.array([True, False, True, True]), np.arange(12.0).reshape(1, 3, 4)
    np.testing.assert_array_equal(without_padding(wide.reshape(1, 3, 2, 2), tokens), wide[:, :, tokens])
    assert without_padding(np.ones((1, 3, 2, 3)), tokens).shape == (1, 3, 2, 3)


def test_padding_does_not_count_against_a_model() -> None:
    model = parse(BODY)
    evaluator = Evaluator(model, [sample()], threads=1)
    assert evaluator.fidelity(model).closeness_db == pytest.approx(80.0)
    worse = parse(BODY.replace("z = MatMul(p, x)", "q = MatMul(p, x)\n z = Add(q, wrong)"), wrong=_last_row())
    assert evaluator.fidelity(worse).closeness_db == pytest.approx(80.0)
    everywhere = parse(BODY.replace("z = MatMul(p, x)", "q = MatMul(p, x)\n z = Add(q, wrong)"), wrong=_last_row() + 1)
    assert evaluator.fidelity(everywhere).closeness_db < 10


def _last_row() -> np.ndarray:
    wrong = np.zeros((1, 4, 6), np.float32)
    wrong[:, 3] = 5
    return wrong


@pytest.mark.parametrize("features", [6, 4])
def test_padding_repeats_tokens_whose_answers_stay(features: int) -> None:
    """With as many features as places, too."""
    model = parse(BODY.replace("float[1,4,6]", f"float[1,4,{features}]"))
    given = sample(np.array([[[0, -16, 0, -16]]], np.float32))
    given["x"] = given["x"][..., :features]
    (found,) = tokens_alone(model.graph, [given])
    x = given["x"]
    np.testing.assert_array_equal(found["x"], x[:, [0, 0, 2, 2]])
    np.testing.assert_array_equal(found["mask"], given["mask"])
    before, after = (run_model(model, feeds)["z"][0, [0, 2]] for feeds in (given, found))
    np.testing.assert_allclose(after, before, atol=1e-6)


LINEAR = """
net (float[1,4,32] x, float[1,1,4] mask) => (float[1,4,32] z) {
  m = MatMul(x, v)
  t = Add(m, b)
  k = Transpose <perm = [0, 2, 1]> (t)
  scores = MatMul(t, k)
  masked = Add(scores, mask)
  p = Softmax <axis = -1> (masked)
  y = MatMul(p, t)
  u = MatMul(y, w)
  z = Add(u, c)
}"""


@pytest.mark.parametrize(("effort", "weights"), [("fast", "int8"), ("default", "int8"), ("default", "int4")])
def test_a_model_is_the_same_whatever_stands_in_padding(effort: Effort, weights: Weights) -> None:
    """Huge numbers in two channels of the padding would make the weights of these the only ones that matter."""
    rng = np.random.default_rng(0)
    shapes = {"v": (32, 32), "b": (32,), "w": (32, 32), "c": (32,)}
    model = parse(LINEAR, **{n: (rng.standard_normal(s) / 6).astype(np.float32) for n, s in shapes.items()})
    texts = rng.standard_normal((8, 1, 4, 32)).astype(np.float32)

    def made(padding: float) -> QuantizationResult:
        samples = [{"x": x.copy(), "mask": 4 * MASK} for x in texts]
        for feeds in samples:
            feeds["x"][0, 3, :2] = padding
        config = QuantizationConfig(effort=effort, weights=weights)
        return quantize(model, lambda: iter(samples), config, held_back=lambda: iter(samples), explain=True)

    few, many = made(0.0), made(30.0)
    assert few.facts["tensors"] == many.facts["tensors"], "errors are those of tokens as well"
    constants, others = (r.model.graph.initializers for r in (few, many))
    assert len(constants) > 10 and constants.keys() == others.keys()
    assert weights in {v.dtype.name.lower() for v in constants.values() if v.dtype is not None}
    for name, value in constants.items():
        np.testing.assert_array_equal(value.const_value.numpy(), others[name].const_value.numpy(), name)  # type: ignore[union-attr]
