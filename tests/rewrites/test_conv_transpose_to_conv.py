from __future__ import annotations

import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, reasons, sample, software, stays


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [2, 2]},
        {"strides": [2, 2], "pads": [1, 1, 1, 1], "output_padding": [1, 1]},
        {"strides": [3, 1], "pads": [0, 1, 1, 0]},
        {"dilations": [2, 1]},
        {"strides": [2, 2], "pads": [3, 3, 3, 3]},
        {"strides": [2, 2], "group": 2},
    ],
)
def test_conv_transpose_is_exact(attributes: dict[str, object]) -> None:
    g = GraphWriter()
    groups = int(attributes.get("group", 1))  # type: ignore[call-overload]
    y = g.node("ConvTranspose", g.input("x", [1, 4, 5, 6]), g.weight(4, 6 // groups, 3, 3), g.vector(6), **attributes)
    result = apply(g.model(y), "conv-transpose-to-conv")
    assert "ConvTranspose" not in ops(result.model)


def test_conv_transpose_leaves_the_cpu() -> None:
    g = GraphWriter()
    y = g.node("ConvTranspose", g.input("x", [1, 8, 8, 8]), g.weight(8, 4, 2, 2), strides=[2, 2])
    model = g.model(y)
    assert software(model, OLD)
    assert not software(apply(model, "conv-transpose-to-conv").model, OLD)


@pytest.mark.parametrize(("channels", "k", "version"), [(1, 2, NEW), (4, 2, OLD), (3, 3, NEW)])
def test_conv_transpose_whose_products_do_not_overlap_becomes_blocks(channels: int, k: int, version: str) -> None:
    g = GraphWriter()
    x, weight = g.input("x", [1, 24, 32, 20]), g.weight(24, channels, k, k)
    y = g.node("ConvTranspose", g.node("Relu", x), weight, g.vector(channels), strides=[k, k])
    model = g.model(y)
    blocks = apply(model, "conv-transpose-to-conv", target=version).model
    assert ops(blocks)["Conv"] == 2
    assert software(model, version) and not software(blocks, version)
    feeds = [sample(model)]
    weighed = rewrite(model, lambda: feeds, RewriteConfig(rules="auto"), target=version, threads=1)
    (choice,) = (c for c in weighed.choices if c.rule == "conv-transpose-to-conv")
    assert choice.form == "blocks" and choice.milliseconds["blocks"] < choice.milliseconds["stuffed"]
    assert not software(weighed.model, version)


def test_automatic_padding_is_refused() -> None:
    g = GraphWriter()
    y = g.node("ConvTranspose", g.input("x", [1, 4, 5, 5]), g.weight(4, 6, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")
    assert "by a rule" in reasons(apply(g.model(y), "conv-transpose-to-conv"), "conv-transpose-to-conv")


@pytest.mark.parametrize("form", ["weights", "bias"])
def test_computed_parameters_stay(form: str) -> None:
    g = GraphWriter()
    weight = g.input("w", [4, 6, 2, 2]) if form == "weights" else g.weight(4, 6, 2, 2)
    bias = g.input("b", [6]) if form == "bias" else g.vector(6)
    model = g.model(g.node("ConvTranspose", g.input("x", [1, 4, 5, 6]), weight, bias, strides=[2, 2]))
    stays(model, "conv-transpose-to-conv")


def test_a_map_of_one_pixel() -> None:
    g = GraphWriter()
    model = g.model(g.node("ConvTranspose", g.input("x", [1, 4, 1, 1]), g.weight(4, 6, 4, 4), strides=[1, 1]))
    assert "ConvTranspose" not in ops(alone(model, "conv-transpose-to-conv").model)
