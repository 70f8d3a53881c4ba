from __future__ import annotations

import numpy as np
import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum"])
@pytest.mark.parametrize("axes", [[2, 3], [1], [3], [1, 2, 3]])
def test_reductions_become_pools(op: str, axes: list[int]) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 6, 4, 5])
    y = g.node(op, x, g.constant(axes, np.int64)) if op == "ReduceSum" else g.node(op, x, axes=axes, keepdims=0)
    result = apply(g.model(y), "reduce-to-pool")
    assert op not in ops(result.model)
    assert not software(result.model, OLD)


def test_axes_with_a_gap_are_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[1, 3])), "reduce-to-pool")
    assert "no neighbours" in reasons(result, "reduce-to-pool")


def test_an_axis_in_the_middle_is_refused() -> None:
    g = GraphWriter()
    result = apply(g.model(g.node("ReduceMean", g.input("x", [1, 6, 4, 5]), axes=[2])), "reduce-to-pool")
    assert "between others" in reasons(result, "reduce-to-pool")


def positive(sign: float = 1.0):
    g = GraphWriter()
    x = g.input("x", [1, 6, 4])
    b = g.node("Mul", g.node("Add", g.node("Abs", x), g.constant(0.5)), g.constant(sign))
    return g, x, b


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_divisions_become_products(sign: float, target: str) -> None:
    g, x, b = positive(sign)
    model = g.model(g.node("Div", x, b), g.node("Reciprocal", b), g.node("Div", g.constant(3.0), b))
    result = apply(model, "division-to-product", target=target)
    assert not ops(result.model).keys() & {"Div", "Reciprocal"}
    assert not software(result.model, target).keys() - {"Abs"}


def test_a_divisor_around_zero_is_refused() -> None:
    g = GraphWriter()
    model = g.model(g.node("Div", g.input("x", [1, 6, 4]), g.input("b", [1, 6, 4])))
    assert "has no range" in reasons(apply(model, "division-to-product"), "division-to-product")


@pytest.mark.parametrize("shape", [(6, 1, 1), (1,), (6, 4, 4)])
def test_prelu(shape: tuple[int, ...]) -> None:
    g = GraphWriter()
    model = g.model(g.node("PRelu", g.input("x", [1, 6, 4, 4]), g.constant(g.random.random(shape))))
    found = ops(apply(model, "prelu-to-relu").model)
    assert found["PRelu"] == 0
    assert found["LeakyRelu"] == (shape == (1,))


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("width", "form"), [(7, {"Conv": 4, "Add": 1}), (13, {"Mul": 1, "GlobalAveragePool": 1})])
def test_a_depthwise_kernel_over_the_whole_map(width: int, form: dict[str, int], target: str) -> None:
    g = GraphWriter()
    x, weight = g.input("x", [1, 8, 7, width]), g.weight(8, 1, 7, width)
    model = g.model(g.node("Conv", x, weight, g.vector(8), group=8))
    assert software(model, target)
    rewritten = apply(model, "full-map-depthwise", target=target).model
    assert not software(rewritten, target)
    assert {op: ops(rewritten)[op] for op in form} == form


def test_a_narrow_kernel_stays() -> None:
    g = GraphWriter()
    model = g.model(g.node("Conv", g.input("x", [1, 8, 5, 5]), g.weight(8, 1, 5, 5), group=8))
    assert "5 wide" in reasons(apply(model, "full-map-depthwise"), "full-map-depthwise")


def test_batch_normalization_of_a_vector() -> None:
    g = GraphWriter()
    parameters = [g.vector(16, 1.0), g.vector(16), g.vector(16), g.constant(np.ones(16))]
    model = g.model(g.node("BatchNormalization", g.input("x", [1, 16]), *parameters))
    result = apply(model, "batchnorm-to-affine")
    assert "BatchNormalization" not in ops(result.model)
    assert software(model, OLD) and not software(result.model, OLD)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_group_norm_is_an_instance_norm_of_groups(target: str) -> None:
    g = GraphWriter()
    groups = g.reshape(g.input("x", [1, 16, 8, 8]), [1, 4, -1])
    y = g.node("InstanceNormalization", groups, g.constant(np.ones(4)), g.constant(np.zeros(4)))
    y = g.node("Mul", g.reshape(y, [1, 16, 8, 8]), g.constant(g.random.standard_normal((16, 1, 1))))
    model = g.model(g.node("Add", y, g.constant(g.random.standard_normal((16, 1, 1)))))
    result = apply(model, "instancenorm-decompose", target=target)
    assert software(model, target) and not software(result.model, target)
