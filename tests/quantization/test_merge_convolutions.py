"""Pairs of convolutions as one: the same function, only where nothing stands between them and that is faster."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.reparameterization import merge_convolutions as module
from n6convert.quantization.reparameterization.merge_convolutions import Milliseconds
from n6convert.rewrites.by_latency import predicted_milliseconds
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

from .nets import feeds, parse

PADS = "pads=[1,1,1,1]"
DEPTHWISE = f"{PADS}, group=8"


def weights(seed: int, *shape: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def operators(model: ir.Model) -> float:
    """A predictor for which fewer operators are faster."""
    return float(model.graph.num_nodes())


def merge_pairs(model: ir.Model, milliseconds: Milliseconds) -> tuple[ir.Model, list[dict]]:
    """With float models timed as they are."""
    return module.merge_pairs(model, milliseconds, lambda model: model, module.slower_alone(model, milliseconds))


def pair(
    first: str = DEPTHWISE,
    second: str = "kernel_shape=[1,1]",
    *,
    between: str = "",
    more: str = "",
    size: int = 16,
    kernel: tuple[int, ...] = (8, 1, 3, 3),
    points: tuple[int, ...] = (6, 8, 1, 1),
) -> ir.Model:
    """Two convolutions of 8 channels, with an operator between them or another output besides if asked for."""
    read = "m" if between else "d"
    body = f"""
    net (float[1,8,16,16] x) => (float[1,{points[0]},{size},{size}] y{", float[1,8,16,16] z" if more else ""}) {{
      d = Conv<{first}>(x, w1, b1)
      {between}
      {more}
      y = Conv<{second}>({read}, w2, b2)
    }}"""
    values = {"w1": weights(1, *kernel), "b1": weights(3, kernel[0], 1)[:, 0]}
    values |= {"w2": weights(2, *points), "b2": weights(4, points[0], 1)[:, 0]}
    return prepare(parse(body, **values))


@pytest.mark.parametrize(
    "model",
    [
        pair(),
        pair(f"{DEPTHWISE}, strides=[2,2]", size=8),
        pair("pads=[2,2,2,2], dilations=[2,2], group=8"),
        pair(f"{PADS}, group=2", kernel=(12, 4, 3, 3), points=(6, 12, 1, 1)),
        pair("kernel_shape=[1,1]", kernel=(4, 8, 1, 1), points=(10, 4, 1, 1)),
    ],
    ids=["depthwise", "stride 2", "dilated", "grouped", "both 1x1"],
)
def test_the_one_is_the_same_function_under_the_name_of_the_second(model: ir.Model) -> None:
    merged, records = merge_pairs(model, operators)
    sample = next(feeds((1, 8, 16, 16))())
    before, after = run_model(model, sample)["y"], run_model(merged, sample)["y"]
    assert max_relative_difference(before, after) < 1e-5
    convolutions = [n for n in merged.graph if n.op_type == "Conv"]
    assert [n.name for n in convolutions] == [list(model.graph)[-1].name] == [r["convolution"] for r in records]
    assert records[0]["saved_ms"] == 1.0
    assert [n.op_type for n in model.graph].count("Conv") == 2, "the model given stays as it is"


def test_convolutions_without_a_bias_are_merged() -> None:
    model = pair()
    for node in model.graph:
        node.resize_inputs(2)
    merged, records = merge_pairs(model, operators)
    sample = next(feeds((1, 8, 16, 16))())
    assert records and max_relative_difference(run_model(model, sample)["y"], run_model(merged, sample)["y"]) < 1e-5


@pytest.mark.parametrize(
    "model",
    [
        pair(between="m = Relu(d)"),
        pair(more="z = Relu(d)"),
        pair(more="z = Identity(d)"),
        pair(second="strides=[2,2]", size=8),
        pair(second=PADS, size=18),
        pair(second=PADS, points=(6, 8, 3, 3)),
        pair(second="group=2", points=(6, 4, 1, 1)),
        pair("pads=[3,3,3,3]", kernel=(1, 8, 7, 7), points=(512, 1, 1, 1)),
    ],
    ids=["activation", "two readers", "an output", "stride", "pads", "3x3", "groups", "low rank"],
)
def test_other_pairs_stay_two(model: ir.Model) -> None:
    merged, records = merge_pairs(model, operators)
    assert merged is model and not records


@pytest.mark.parametrize(("slower", "convolutions"), [(0.002, 1), (0.02, 2)])
def test_what_is_slower_stays_two_unless_it_is_hardly_so(slower: float, convolutions: int) -> None:
    merged, records = merge_pairs(pair(), lambda model: 1 - slower * operators(model))
    assert [n.op_type for n in merged.graph] == ["Conv"] * convolutions and len(records) == 2 - convolutions


def test_what_some_pairs_save_is_not_spent_on_others() -> None:
    body = f"""
    net (float[1,8,16,16] x) => (float[1,4,16,16] y) {{
      d = Conv<{DEPTHWISE}>(x, w1)
      a = Conv(d, w2)
      r = Relu(a)
      e = Conv<{DEPTHWISE}>(r, w3)
      y = Conv(e, w4)
    }}"""
    shapes = {"w1": (8, 1, 3, 3), "w2": (8, 8, 1, 1), "w3": (8, 1, 3, 3), "w4": (4, 8, 1, 1)}
    model = prepare(parse(body, **{name: weights(i, *shape) for i, (name, shape) in enumerate(shapes.items())}))

    def milliseconds(model: ir.Model) -> float:
        """Two layers take 2, one of eight outputs 1.5, one of four 2.1."""
        layers = [n for n in model.graph if n.op_type == "Conv"]
        ones = [n.outputs[0].shape[1] for n in layers if "_merged_weight" in n.inputs[1].name]
        return len(layers) - len(ones) + sum(1.5 if channels == 8 else 2.1 for channels in ones)

    merged, records = merge_pairs(model, milliseconds)
    assert [r["saved_ms"] for r in records] == [0.5] and [n.op_type for n in merged.graph].count("Conv") == 3


def test_the_predictor_says_where_one_is_faster() -> None:
    """Few channels on a large map: streams decide. Many channels on a small one: multiplications do."""
    milliseconds = predicted_milliseconds("stm32n6570-dk@4.0")
    assert milliseconds is not None

    def merged(channels: int, size: int) -> bool:
        shape = f"float[1,{channels},{size},{size}]"
        body = f"net ({shape} x) => ({shape} y) {{ d = Conv<{PADS}, group={channels}>(x, w1) y = Conv(d, w2) }}"
        w1, w2 = weights(1, channels, 1, 3, 3), weights(2, channels, channels, 1, 1)
        return bool(merge_pairs(prepare(parse(body, w1=w1, w2=w2)), milliseconds)[1])

    assert merged(16, 64) and not merged(256, 8)


def test_three_in_a_row_become_one_after_the_other() -> None:
    body = """
    net (float[1,8,16,16] x) => (float[1,8,16,16] y) {
      a = Conv<pads=[1,1,1,1], group=8>(x, w1)
      b = Conv(a, w2)
      y = Conv(b, w3)
    }"""
    values = {"w1": weights(1, 8, 1, 3, 3), "w2": weights(2, 4, 8, 1, 1), "w3": weights(3, 8, 4, 1, 1)}
    model = prepare(parse(body, **values))
    merged, records = merge_pairs(model, operators)
    sample = next(feeds((1, 8, 16, 16))())
    assert max_relative_difference(run_model(model, sample)["y"], run_model(merged, sample)["y"]) < 1e-5
    assert len(records) == 2 and merged.graph.num_nodes() == 1


def groups(more: str = "") -> ir.Model:
    """A depthwise convolution that two groups of channels side by side read."""
    body = f"""
    net (float[1,8,16,16] x) => (float[1,12,16,16] y{", float[1,8,16,16] z" if more else ""}) {{
      d = Conv<{DEPTHWISE}>(x, w1, b1)
      a = Conv(d, w2, b2)
      b = Conv(d, w3)
      ra = Relu(a)
      rb = Relu(b)
      y = Concat<axis=1>(ra, rb)
      {more}
    }}"""
    values = {"w1": weights(1, 8, 1, 3, 3), "b1": weights(2, 8, 1)[:, 0], "w2": weights(3, 6, 8, 1, 1)}
    return prepare(parse(body, **values, b2=weights(4, 6, 1)[:, 0], w3=weights(5, 6, 8, 1, 1)))


def test_each_group_of_channels_is_merged_with_the_one_that_all_read() -> None:
    model = groups()
    merged, records = merge_pairs(model, operators)
    sample = next(feeds((1, 8, 16, 16))())
    assert max_relative_difference(run_model(model, sample)["y"], run_model(merged, sample)["y"]) < 1e-5
    names = [n.name for n in model.graph if n.op_type == "Conv"]
    assert [n.name for n in merged.graph if n.op_type == "Conv"] == names[1:]
    assert records == [{"convolution": ", ".join(names[1:]), "saved_ms": 1.0}]


def test_what_something_else_reads_as_well_stays() -> None:
    model = groups("z = Relu(d)")
    assert merge_pairs(model, operators) == (model, [])


def test_pairs_by_name_are_merged_as_those_that_were_found() -> None:
    model = prepare(pair())
    merged, records = merge_pairs(model, operators)
    named = module.merge_across(model, ["d"])
    assert len(records) == 1
    sample = next(feeds((1, 8, 16, 16), 1)())
    assert all(np.array_equal(v, run_model(named, sample)[n]) for n, v in run_model(merged, sample).items())
