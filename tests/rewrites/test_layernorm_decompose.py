from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def spelled_out():
    g = GraphWriter()
    return g.model(g.layernorm(g.input("x", [1, 6, 16]), 16))


def fused(beta: bool = True):
    g = GraphWriter()
    parameters = [g.vector(16, 1.0)] + ([g.vector(16)] if beta else [])
    return g.model(g.node("LayerNormalization", g.input("x", [1, 6, 16]), *parameters, axis=-1))


def over_channels():
    g = GraphWriter()
    x = g.input("x", [1, 16, 4, 5])
    centered = g.node("Sub", x, g.node("ReduceMean", x, axes=[1]))
    variance = g.node("ReduceMean", g.node("Mul", centered, centered), axes=[1])
    root = g.node("Sqrt", g.node("Add", variance, g.constant(1e-5)))
    scaled = g.node("Mul", g.node("Div", centered, root), g.constant(g.random.random((1, 16, 1, 1))))
    return g.model(g.node("Add", scaled, g.constant(g.random.random((1, 16, 1, 1)))))


def rows_alone():
    """Tokens without a batch, as detectors and ViTs keep them inside."""
    g = GraphWriter()
    return g.model(g.reshape(g.layernorm(g.reshape(g.input("x", [1, 6, 16]), [6, 16]), 16), [1, 6, 16]))


def one_vector():
    g = GraphWriter()
    return g.model(g.layernorm(g.input("x", [1, 16]), 16))


def rms():
    g = GraphWriter()
    x = g.input("x", [1, 6, 16])
    mean = g.node("ReduceMean", g.node("Mul", x, x), axes=[-1])
    inverse = g.node("Reciprocal", g.node("Sqrt", g.node("Add", mean, g.constant(1e-6))))
    return g.model(g.node("Mul", g.node("Mul", x, inverse), g.vector(16, 1.0)))


def tensorflow(gamma: bool = True):
    """As Keras' layers and tf.nn.batch_normalization write it."""
    g = GraphWriter()
    x = g.input("x", [1, 6, 16])
    mean = g.node("ReduceMean", x, axes=[-1])
    centered = g.node("Sub", x, mean)
    variance = g.node("ReduceMean", g.node("Mul", centered, centered), axes=[-1])
    scale = g.node("Reciprocal", g.node("Sqrt", g.node("Add", variance, g.constant(1e-3))))
    scale = g.node("Mul", scale, g.vector(16, 1.0)) if gamma else scale
    rest = g.node("Sub", g.vector(16), g.node("Mul", mean, scale))
    return g.model(g.node("Add", g.node("Mul", x, scale), rest))


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    "make",
    [
        spelled_out,
        fused,
        lambda: fused(beta=False),
        over_channels,
        rows_alone,
        one_vector,
        rms,
        tensorflow,
        lambda: tensorflow(gamma=False),
    ],
)
def test_every_spelling_is_exact_and_stays_on_the_npu(make, target: str) -> None:
    result = apply(make(), "layernorm-decompose", target=target)
    assert [a.rule for a in result.applied].count("layernorm-decompose") == 1
    assert not software(result.model, target)
    assert not ops(result.model).keys() & {"LayerNormalization", "ReduceMean", "Div", "Reciprocal"}


def test_gamma_and_beta_go_into_the_next_linear() -> None:
    g = GraphWriter()
    y = g.linear(g.layernorm(g.input("x", [1, 6, 16]), 16), 16, 8)
    model = g.model(y)
    kept = ops(apply(model, "layernorm-decompose", "linear-to-conv").model)
    folded = ops(apply(model, "layernorm-decompose", "linear-to-conv", "scale-into-next-conv").model)
    assert kept["Mul"] - folded["Mul"] == 1
    assert kept["Add"] - folded["Add"] == 1


def test_a_norm_over_another_axis_is_none_of_these() -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 16])
    centered = g.node("Sub", x, g.node("ReduceMean", x, axes=[1]))
    variance = g.node("ReduceMean", g.node("Mul", centered, centered), axes=[1])
    model = g.model(g.node("Div", centered, g.node("Sqrt", g.node("Add", variance, g.constant(1e-5)))))
    assert not apply(model, "layernorm-decompose").applied


def test_small_variances_stay_exact() -> None:
    g = GraphWriter()
    x = g.node("Mul", g.input("x", [1, 6, 16]), g.constant(np.float32(0.01)))
    apply(g.model(g.layernorm(x, 16)), "layernorm-decompose")
