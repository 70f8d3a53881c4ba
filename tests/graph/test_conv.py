"""Parameters of convolutions and per-channel operators: read, they compute what the node does; others are not read."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import drawn, node_of, parsed

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.conv import channel_affine, conv_parameters, read_conv, rebuild_conv, scaled_outputs
from n6convert.runtime.session import run_model

PER_CHANNEL = np.array([0.5, -2.0, 3.0], np.float32)
FORMS = {
    "Mul(x, k)": lambda x, k: x * k,
    "Mul(k, x)": lambda x, k: x * k,
    "Add(x, k)": lambda x, k: x + k,
    "Add(k, x)": lambda x, k: x + k,
    "Sub(x, k)": lambda x, k: x - k,
    "Sub(k, x)": lambda x, k: k - x,
    "Div(x, k)": lambda x, k: x / k,
}


def affine_of(body: str, shape: str = "1,3,2,2", **constants: Any) -> tuple[ir.Model, Any]:
    model = parsed(f"y = {body}", f"float[{shape}] x", "float[] y", **constants)
    return model, channel_affine(next(iter(model.graph)))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", ["1,3,2,2", "1,3,5", "1,3"])
@pytest.mark.parametrize("single", [False, True])
def test_every_form_is_a_scale_and_a_shift(form: str, shape: str, single: bool) -> None:
    rank = shape.count(",") + 1
    k = np.float32([[2.0]]) if single else PER_CHANNEL.reshape(3, *[1] * (rank - 2))
    model, found = affine_of(form, shape, k=k)
    assert found is not None
    x, scale, shift = found
    assert x.name == "x" and scale.shape == shift.shape == (3,)
    feeds = drawn({"x": [int(n) for n in shape.split(",")]})
    wide = [1, 3, *[1] * (rank - 2)]
    given = run_model(model, feeds)["y"]
    np.testing.assert_allclose(feeds["x"] * scale.reshape(wide) + shift.reshape(wide), given, rtol=1e-6)
    np.testing.assert_allclose(given, FORMS[form](feeds["x"], k), rtol=1e-6)


@pytest.mark.parametrize(("body", "k", "why"), [
    ("Div(k, x)", PER_CHANNEL.reshape(3, 1, 1), "the reciprocal is no affine function"),
    ("Div(x, k)", np.float32([1, 0, 1]).reshape(3, 1, 1), "a division by zero"),
    ("Div(x, k)", np.float32([1, 1e-45, 1]).reshape(3, 1, 1), "an inverse that overflows"),
    ("Mul(x, k)", np.float32([1, 2]), "varies along the width"),
    ("Mul(x, k)", np.ones((3, 2, 2), np.float32), "varies within the map"),
    ("Mul(x, k)", np.ones((2, 3, 1, 1), np.float32), "widens the batch"),
    ("Add(x, k)", np.ones((1, 1, 1, 1, 1), np.float32), "adds an axis"),
    ("Mul(x, x)", PER_CHANNEL, "no constant"),
])  # fmt: skip
def test_what_is_no_affine_function_by_channel(body: str, k: Any, why: str) -> None:
    assert affine_of(body, k=k)[1] is None, why


def test_batch_normalization_in_evaluation() -> None:
    random = np.random.default_rng(0)
    constants = {n: random.uniform(0.5, 2, 3).astype(np.float32) for n in ("g", "b", "m", "v")}
    body = "BatchNormalization<epsilon=0.25>(x, g, b, m, v)"
    model, found = affine_of(body, "1,3,2,2", **constants)
    assert found is not None
    feeds = drawn({"x": (1, 3, 2, 2)})
    wanted = run_model(model, feeds)["y"]
    np.testing.assert_allclose(
        feeds["x"] * found[1][:, None, None] + found[2][:, None, None], wanted, rtol=1e-5, atol=1e-6
    )
    model = parsed(
        "y, a, c = BatchNormalization<training_mode=1>(x, g, b, m, v)", "float[1,3,2,2] x", "float[] y", **constants
    )
    assert channel_affine(next(iter(model.graph))) is None, "statistics of the batch"


WEIGHT = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


def conv(
    attributes: str = "", inputs: str = "x, w", weight: Any = WEIGHT, **constants: Any
) -> tuple[ir.Model, ir.Node]:
    shown = f"<{attributes}>" if attributes else ""
    model = parsed(f"y = Conv{shown}({inputs})", "float[1,3,8,9] x", "float[] y", w=weight, **constants)
    return model, node_of(model, "Conv")


@pytest.mark.parametrize(
    "attributes", ["", "strides=[2,1]", "pads=[1,0,2,1]", "strides=[2,2], pads=[1,1,1,1], dilations=[1,1]"]
)
@pytest.mark.parametrize("biased", [False, True])
def test_a_plain_convolution_is_written_again(attributes: str, biased: bool) -> None:
    more = {"b": np.arange(4, dtype=np.float32)} if biased else {}
    model, node = conv(attributes, "x, w, b" if biased else "x, w", **more)
    plain = read_conv(node)
    assert plain is not None and plain.bias.shape == (4,)
    build = Builder(model.graph, "b", 17)
    again = plain.write(build, model.graph.inputs[0])
    model.graph.extend(build.nodes)
    model.graph.outputs.append(again)
    given = run_model(model, drawn({"x": (1, 3, 8, 9)}))
    np.testing.assert_array_equal(given[str(again.name)], given["y"])
    assert len(build.nodes[0].inputs) == 2 + biased, "no bias of zeros is written"


@pytest.mark.parametrize(("attributes", "inputs", "weight"), [
    ("group=3", "x, w", np.ones((3, 1, 3, 3), np.float32)),
    ("dilations=[1,2]", "x, w", WEIGHT),
    ('auto_pad="SAME_UPPER"', "x, w", WEIGHT),
    ("", "x, x", WEIGHT),
    ("", "x, w, c", WEIGHT),
])  # fmt: skip
def test_other_convolutions_are_not_plain(attributes: str, inputs: str, weight: Any) -> None:
    if inputs == "x, x":
        model = parsed("y = Conv(x, z)", "float[1,3,8,9] x, float[4,3,3,3] z", "float[] y")
    elif "c" in inputs:
        model = parsed("y = Conv(x, w, c)", "float[1,3,8,9] x, float[4] c", "float[] y", w=weight)
    else:
        model = conv(attributes, inputs, weight)[0]
    assert read_conv(node_of(model, "Conv")) is None


def test_a_bias_that_is_absent_is_zero() -> None:
    weight, bias = conv_parameters(conv()[1])
    np.testing.assert_array_equal(weight, WEIGHT)
    assert bias.tolist() == [0] * 4 and bias.dtype == weight.dtype


@pytest.mark.parametrize("outputs", [1, 2, 4])
def test_rebuilt_with_fewer_channels_it_gives_the_first_ones(outputs: int) -> None:
    model, node = conv("strides=[2,1], pads=[1,1,1,1]", "x, w, b", b=np.arange(4, dtype=np.float32))
    build = Builder(model.graph, "b", 17)
    weight, bias = conv_parameters(node)
    fewer = rebuild_conv(build, node, weight[:outputs], bias[:outputs])
    plain = rebuild_conv(build, node, weight, None, strides=[1, 1])
    model.graph.extend(build.nodes)
    model.graph.outputs.append(fewer)
    given = run_model(model, drawn({"x": (1, 3, 8, 9)}))
    np.testing.assert_allclose(given[str(fewer.name)], given["y"][:, :outputs], rtol=1e-5, atol=1e-5)
    assert fewer.shape is not None and tuple(fewer.shape) == given[str(fewer.name)].shape
    maker = plain.producer()
    assert maker is not None and maker.attributes["strides"].value in ([1, 1], (1, 1)) and len(maker.inputs) == 2
    assert maker.attributes["pads"].value in ([1] * 4, (1,) * 4), "what is not changed stays"


@pytest.mark.parametrize(("op", "weight", "groups"), [
    ("Conv", (6, 4, 3, 3), 1), ("Conv", (6, 2, 3), 2), ("ConvTranspose", (4, 6, 3, 3), 1),
    ("ConvTranspose", (4, 3, 3), 2),
])  # fmt: skip
def test_scaled_weights_scale_each_output_channel(op: str, weight: tuple[int, ...], groups: int) -> None:
    rank, factor = len(weight) - 2, np.arange(1, 7, dtype=np.float32)
    shape = [1, 4, *[5] * rank]
    feeds = drawn({"x": shape, "w": weight})
    body = f"y = {op}<group={groups}>(x, w)"
    model = parsed(body, f"float[{','.join(map(str, shape))}] x", "float[] y", w=feeds["w"])
    before = run_model(model, {"x": feeds["x"]})["y"]
    scaled = scaled_outputs(node_of(model, op), feeds["w"], factor)
    after = run_model(parsed(body, f"float[{','.join(map(str, shape))}] x", "float[] y", w=scaled), {"x": feeds["x"]})
    np.testing.assert_allclose(after["y"], before * factor.reshape(1, 6, *[1] * rank), rtol=1e-4, atol=1e-5)
