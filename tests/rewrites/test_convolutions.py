from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, sample, software


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


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_channel_pads(value: float) -> None:
    g = GraphWriter()
    pads = g.constant([0, 2, 0, 0, 0, 3, 0, 0], np.int64)
    result = apply(g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), pads, g.constant(value))), "channel-pad-to-conv")
    assert ops(result.model) == {"Conv": 1}


@pytest.mark.parametrize("pads", [[0, 2, 1, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 2, 0, 0]])
def test_other_pads_are_left_alone(pads: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), g.constant(pads, np.int64)))
    assert ops(apply(model, "channel-pad-to-conv").model)["Pad"] == 1


@pytest.mark.parametrize("target", [OLD, NEW])
def test_batch_normalization_alone(target: str) -> None:
    g = GraphWriter()
    parameters = [g.vector(6, 1.0), g.vector(6), g.vector(6), g.vector(6, 1.0)]
    model = g.model(g.node("BatchNormalization", g.node("Relu", g.input("x", [1, 6, 4, 4])), *parameters))
    result = apply(model, "batchnorm-to-affine", target=target)
    assert ops(result.model) == {"Relu": 1, "Mul": 1, "Add": 1}
    assert not software(result.model, target)


@pytest.mark.parametrize("target", [OLD, NEW])
def test_instance_normalization(target: str) -> None:
    g = GraphWriter()
    model = g.model(g.node("InstanceNormalization", g.input("x", [1, 6, 8, 8]), g.vector(6, 1.0), g.vector(6)))
    assert software(model, target)
    assert not software(apply(model, "instancenorm-decompose", target=target).model, target)


def test_wide_convolutions_split_into_equal_parts() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 8, 4, 4]), g.weight(960, 8, 1, 1), g.vector(960))
    assert ops(apply(g.model(y), "wide-conv-split").model) == {"Conv": 2, "Concat": 1}


def test_a_wide_convolution_stays_whole_where_that_is_predicted_faster() -> None:
    """Two places, two answers: on a map the vectors stream once a column, on one pixel a second start costs more."""
    g = GraphWriter()
    on_map = g.node("Relu", g.node("Conv", g.input("x", [1, 64, 16, 16]), g.weight(1024, 64, 1, 1), g.vector(1024)))
    y = g.node("Conv", g.node("GlobalAveragePool", on_map), g.weight(1280, 1024, 1, 1), g.vector(1280))
    model = g.model(y)

    def timer(graph: ir.Model) -> float:
        convs = [n.outputs[0].shape for n in graph.graph if n.op_type == "Conv"]
        return sum(3.0 if shape[2] > 1 and shape[1] > 512 else 1.0 for shape in convs)

    result = rewrite(model, None, RewriteConfig(rules=["wide-conv-split"]), target=OLD, threads=1, estimator=timer)
    forms = {c.place: (c.form, c.milliseconds) for c in result.choices}
    assert forms["64 to 1024 channels, kernel 1x1, map 16x16"][0] == "parts"
    form, times = forms["1024 to 1280 channels, kernel 1x1, map 1x1"]
    assert form == "whole" and times["whole"] < times["parts"]
    assert ops(result.model)["Conv"] == 3 and result.after is not None and result.before is not None
    assert result.after < result.before and "in one piece" in reasons(result, "wide-conv-split")


def test_prime_channel_counts_have_no_parts() -> None:
    g = GraphWriter()
    y = g.node("Conv", g.input("x", [1, 8, 4, 4]), g.weight(523, 8, 1, 1))
    assert "no equal parts" in reasons(apply(g.model(y), "wide-conv-split"), "wide-conv-split")
