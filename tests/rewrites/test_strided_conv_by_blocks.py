from __future__ import annotations

import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons


def first_layer(kernel: int, stride: int, pads: list[int], size: int = 32, channels: int = 3, outputs: int = 16):
    g = GraphWriter()
    x = g.input("x", [1, channels, size, size])
    return g.model(
        g.node(
            "Conv", x, g.weight(outputs, channels, kernel, kernel), g.vector(outputs), strides=[stride] * 2, pads=pads
        )
    )


@pytest.mark.parametrize(
    ("kernel", "stride", "pads"),
    [(7, 2, [3] * 4), (6, 2, [2] * 4), (5, 2, [2, 2, 1, 1]), (5, 4, [0] * 4), (16, 16, [0] * 4), (8, 4, [2] * 4)],
)
def test_exact(kernel: int, stride: int, pads: list[int]) -> None:
    result = apply(first_layer(kernel, stride, pads), "strided-conv-by-blocks")
    assert ops(result.model)["Conv"] >= 2


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(("kernel", "stride", "pad"), [(7, 2, 3), (16, 16, 0)])
def test_the_first_layers_of_known_families_are_faster(kernel: int, stride: int, pad: int, target: str) -> None:
    model = first_layer(kernel, stride, [pad] * 4, 224, outputs=64 if stride == 2 else 192)
    result = rewrite(model, None, RewriteConfig(), target=target, threads=1)
    assert result.after < 0.7 * result.before
    line = next(line for line in result.facts()["applied"] if line["rule"] == "strided-conv-by-blocks")
    assert "ms instead of as it is" in line["because"][0]


def test_small_kernels_odd_maps_and_many_channels_stay() -> None:
    for model in (first_layer(3, 2, [1] * 4), first_layer(7, 2, [3] * 4, 33), first_layer(7, 2, [3] * 4, 32, 16)):
        assert not apply(model, "strided-conv-by-blocks").applied


def test_refused_where_it_does_not_pay() -> None:
    result = rewrite(
        first_layer(6, 2, [2] * 4), None, RewriteConfig(), estimator=lambda m: float(len(list(m.graph))), threads=1
    )
    assert "the Conv alone is predicted at 1.000 ms" in reasons(result, "strided-conv-by-blocks")
