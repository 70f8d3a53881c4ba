from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "einsum-to-matmul"
SIZES = dict(zip("abcdhijkmnpqw", (1, 1, 6, 5, 4, 3, 2, 7, 3, 5, 2, 4, 6), strict=True))


def einsum(equation: str, constants: int = 0) -> GraphWriter:
    """An Einsum whose last operands are constants, and a Relu behind it."""
    g = GraphWriter()
    terms = equation.replace(" ", "").partition("->")[0].split(",")
    shapes = [[SIZES[c] for c in term] for term in terms]
    names = [g.input(f"x{i}", s) for i, s in enumerate(shapes[: len(shapes) - constants])]
    names += [g.weight(*s, scale=0.5) for s in shapes[len(names) :]]
    g.node("Relu", g.node("Einsum", *names, equation=equation))
    return g


def last(g: GraphWriter) -> str:
    return str(g.nodes[-1].output[0])


@pytest.mark.parametrize(
    "equation",
    ["bhic,bhjc->bhij", "bhij,bhjc->bihc", "bchw,bnc->bnhw", "bic,bjc->bij", "ijk,kj->i", "ij,jk,km->im", "bid,bid->bi",
     "bij->bji", "bhij->bi", "ij,ij", "bi,bj->bij", "bhwc,bc->bhw", "bcd,bcd->bd", "bhqd , bkhd -> bhqk", "bjk,ik->bij",
     "bhic,hjc->bhij"],
)  # fmt: skip
def test_operands_from_the_network(equation: str) -> None:
    g = einsum(equation)
    result = apply(g.model(last(g)), RULE)
    assert "Einsum" not in ops(result.model)


@pytest.mark.parametrize("equation", ["bchw,nc->bnhw", "bic,cj->bij", "bhic,hcm->bihm", "bijc,mjc->bim", "bic,c->bic"])
def test_a_constant_operand_is_a_convolution_or_a_product(equation: str) -> None:
    g = einsum(equation, constants=1)
    model = g.model(last(g))
    assert software(model, NEW)
    result = rewrite(model, None, RewriteConfig(), target=NEW)
    assert "Einsum" not in ops(result.model) and not software(result.model, NEW)


def test_a_channel_mix_is_one_convolution() -> None:
    g = einsum("bchw,nc->bnhw", constants=1)
    result = rewrite(g.model(last(g)), None, RewriteConfig(), target=NEW)
    assert ops(result.model) == {"Conv": 1, "Relu": 1}


@pytest.mark.parametrize(("equation", "why"), [("...ij,...jk->...ik", "an ellipsis"), ("bii->bi", "a diagonal")])
def test_what_has_no_product_is_refused_by_name(equation: str, why: str) -> None:
    g = GraphWriter()
    shapes = [[1, 3, 3]] * (1 + equation.count(","))
    y = g.node("Einsum", *[g.input(f"x{i}", s) for i, s in enumerate(shapes)], equation=equation)
    assert why in reasons(apply(g.model(y), RULE), RULE)


@pytest.mark.parametrize("seed", range(4))
def test_any_equation_of_two_operands(seed: int) -> None:
    random = np.random.default_rng(seed)
    for _ in range(6):
        terms = ["".join(random.permutation(list("cdhijm"))[: random.integers(1, 5)]) for _ in range(2)]
        letters = sorted(set("".join(terms)))
        kept = "".join(random.permutation([c for c in letters if random.integers(3)]))
        g = einsum(f"{','.join(terms)}->{kept}", constants=int(random.integers(2)))
        assert "Einsum" not in ops(apply(g.model(last(g)), RULE).model)
