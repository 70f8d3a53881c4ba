"""Weights of four bits: codes, files, and which layers get them."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.cli import run
from n6convert.cli.drafts import parse_size
from n6convert.errors import RecipeError, UsageError
from n6convert.linter import lint
from n6convert.npu import estimate
from n6convert.npu.layer_times import ModelCosts, model_costs
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise.second_order import round_rows
from n6convert.quantization.layerwise.walk import layers_of
from n6convert.quantization.weights import narrow_curve
from n6convert.quantization.weights.four_bits import (
    best_scales,
    in_their_opset,
    narrow_layers,
    replaced,
    written,
    written_with,
)
from n6convert.quantization.weights.mixed_precision import Goals
from n6convert.quantization.weights.narrow_curve import Judged
from n6convert.quantization.weights.narrow_selection import allowed_noise
from n6convert.rewrites.by_latency import predicted_milliseconds
from n6convert.runtime.session import Session

from .nets import feeds, parse

PLAIN = {"equalization": False, "bias_correction": "off", "merge_convolutions": False}


@pytest.fixture(scope="module")
def network() -> ir.Model:
    """A stem too small to narrow, a dense, a depthwise, a 1x1 and a transposed convolution, and a Gemm."""
    rng = np.random.default_rng(3)
    shapes = {
        "stem": (32, 3, 3, 3), "dense": (32, 32, 3, 3), "deep": (32, 1, 3, 3), "wide": (64, 32, 1, 1),
        "up": (64, 16, 2, 2), "head": (10, 64),
    }  # fmt: skip
    weights = {n: rng.normal(0, (2 / np.prod(s[1:])) ** 0.5, s).astype(np.float32) for n, s in shapes.items()}
    biases = {f"b_{n}": rng.normal(0, 0.1, s[1] if n == "up" else s[0]).astype(np.float32) for n, s in shapes.items()}
    body = """
    net (float[1,3,16,16] x) => (float[1,10] y, float[1,16,32,32] map) {
      a = Conv<pads=[1,1,1,1]>(x, stem, b_stem)
      ar = Relu(a)
      b = Conv<pads=[1,1,1,1]>(ar, dense, b_dense)
      br = Relu(b)
      c = Conv<pads=[1,1,1,1], group=32>(br, deep, b_deep)
      cr = Relu(c)
      d = Conv(cr, wide, b_wide)
      dr = Relu(d)
      map = ConvTranspose<strides=[2,2]>(dr, up, b_up)
      p = GlobalAveragePool(dr)
      f = Flatten(p)
      y = Gemm<transB=1>(f, head, b_head)
    }"""
    return parse(body, **weights, **biases)


def narrow(network: ir.Model, weights: str, goals: Goals | None = None, **more: object):
    config = QuantizationConfig(weights=weights, **PLAIN, **more)
    samples = feeds((1, 3, 16, 16), 8)
    return quantize(network, samples, config, goals=goals, milliseconds=predicted_milliseconds("stm32n6570-dk@4.0"))


def kinds(model: ir.Model) -> dict[str, int]:
    found: dict[str, int] = {}
    for initializer in ir.to_proto(model).graph.initializer:
        name = onnx.TensorProto.DataType.Name(initializer.data_type)
        found[name] = found.get(name, 0) + 1
    return found


def test_scales_clip_where_that_loses_less() -> None:
    row = np.concatenate([np.linspace(-1, 1, 200), [4.0]]).astype(np.float32)[None]
    (scale,) = best_scales(row)
    assert scale < 4 / 7

    def error(step: float) -> float:
        return float(np.sum((row - np.clip(np.rint(row / step), -8, 7) * step) ** 2))

    assert error(float(scale)) < error(4 / 7)
    assert best_scales(np.zeros((1, 3), np.float32)) == 1.0


def test_second_order_rounding_keeps_inside_four_bits_and_beats_nearest() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(0, 1, (8, 24)).astype(np.float32)
    inputs = rng.normal(0, 1, (200, 24)) @ rng.normal(0, 1, (24, 24))
    moments, scales = inputs.T @ inputs, best_scales(rows)
    codes = round_rows(rows, scales, moments.copy(), limits=(-8, 7))
    nearest = np.clip(np.rint(rows / scales[:, None]), -7, 7)

    def noise(chosen: np.ndarray) -> float:
        gaps = rows - chosen * scales[:, None]
        return float(np.einsum("ij,jk,ik->", gaps, moments, gaps))

    assert codes.min() >= -8 and codes.max() <= 7
    assert noise(codes) < 0.8 * noise(nearest)


def test_all_weights_in_four_bits_as_st_writes_them(network: ir.Model) -> None:
    result = narrow(network, "int4")
    facts = result.facts["four_bits"]
    assert len(facts["layers"]) == facts["of"] > 0
    proto = ir.to_proto(result.model)
    onnx.checker.check_model(proto)
    assert (proto.ir_version, proto.opset_import[0].version) == (10, 21)
    assert kinds(result.model)["INT4"] == 2 * len(facts["layers"])  # codes and zero points
    lows: list[int] = []
    for node in result.model.graph:
        source = node.inputs[0].const_value if node.op_type == "DequantizeLinear" else None
        if source is not None and source.dtype == ir.DataType.INT4:
            codes = source.numpy().astype(int)
            lows.append(codes.min())
            assert codes.max() <= 7
            assert node.inputs[1].const_value.size == source.shape[node.attributes.get_int("axis")]
    assert min(lows) == -8  # of sixteen codes none is left out
    assert [f for f in lint(result.model, "stm32n6570-dk@4.0") if f.severity == "error"] == []
    assert [f for f in lint(result.model, "stm32n6570-dk@2.2") if f.severity == "error"] != []


def test_the_file_computes_what_was_judged(network: ir.Model) -> None:
    """The judge sees the codes in int8; the file with INT4 initializers gives the same outputs."""
    result = narrow(network, "int4")
    wide = result.model.clone()
    for value in wide.graph.initializers.values():
        if value.dtype == ir.DataType.INT4:
            value.const_value = ir.tensor(value.const_value.numpy().astype(np.int8), name=value.name)
            value.dtype = ir.DataType.INT8
    sample = next(iter(feeds((1, 3, 16, 16), 1)()))
    first, second = Session(result.model).run(sample), Session(wide).run(sample)
    step = max(t["scale"] for t in result.facts["tensors"])
    for name, values in first.items():
        assert np.abs(values - second[name]).max() <= step * 1.001


def test_flash_halves_and_the_placement_stays(network: ir.Model) -> None:
    eight, four = narrow(network, "int8"), narrow(network, "int4")
    before, after = estimate(eight.model), estimate(four.model)
    saved = before.costs.memory.weights - after.costs.memory.weights
    assert saved == pytest.approx(four.facts["four_bits"]["bytes_saved"], abs=64)
    assert [e.kind for e in before.schedule.epochs] == [e.kind for e in after.schedule.epochs]
    assert after.costs.latency.milliseconds <= before.costs.latency.milliseconds


def test_mixed_takes_as_many_layers_as_the_loss_allows(network: ir.Model) -> None:
    counts = []
    for loss in (0.0, 6.0, 60.0):
        facts = narrow(network, "mixed", weights_loss_db=loss).facts["four_bits"]
        base = facts["curve"][0]["closeness_db"]
        chosen = next(p for p in facts["curve"] if p["layers"] == len(facts["layers"]))
        assert chosen["closeness_db"] >= base - loss - 1e-3
        counts.append(len(facts["layers"]))
    assert counts == sorted(counts) and counts[-1] == facts["of"]


def test_what_refining_takes_back_lets_more_layers_in(network: ir.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    four = narrow(network, "int4").facts["four_bits"]
    assert four["curve"][-1]["refined"] and not four["curve"][0]["refined"]
    monkeypatch.setattr(narrow_curve, "refine", lambda exact, model, *samples, **more: (model, []))
    base, whole = (narrow(network, "int4").facts["four_bits"]["curve"][end]["closeness_db"] for end in (0, -1))
    allowed = base - whole - 1.0
    plain = narrow(network, "mixed", weights_loss_db=allowed).facts["four_bits"]
    assert len(plain["layers"]) < plain["of"] == four["of"]
    monkeypatch.undo()
    assert len(narrow(network, "mixed", weights_loss_db=allowed).facts["four_bits"]["layers"]) == four["of"]


def test_layers_of_eight_bits_take_back_what_four_bits_before_them_lost(
    network: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    goals = Goals(flash_bytes=7000)
    found = narrow(network, "mixed", goals)
    monkeypatch.setattr(narrow_curve, "_behind", lambda model, names: names)
    alone = narrow(network, "mixed", goals)
    chosen, same = (f.facts["four_bits"]["layers"] for f in (found, alone))
    assert chosen == same and "node_4" not in chosen  # the depthwise one, between two of four bits
    noise = [m.facts["methods"][-1]["closeness_db"] for m in (found, alone)]
    assert noise[0] > noise[1] + 1.0


def test_a_limit_on_labels_decides_instead_of_closeness(network: ir.Model) -> None:
    found = narrow(network, "mixed", Goals(keeps=lambda sqnr: True), weights_loss_db=0.0).facts["four_bits"]
    assert len(found["layers"]) == found["of"]


def test_labels_are_read_through_a_line_not_one_by_one() -> None:
    noise = np.array([0.01, 0.012, 0.015, 0.02, 0.03, 0.05])
    by_chance = np.array([0.4, -0.5, 0.6, -1.6, 1.2, -0.6])
    allowed = allowed_noise(noise, 200 * (noise - 0.01) + 0.4 + by_chance, 2.0)
    assert allowed == pytest.approx(0.018, abs=0.004), "not 0.02, which lost 0.8 by chance"
    assert allowed_noise(noise, [0.5] * 6, 2.0) == math.inf and allowed_noise(noise, [3.0] * 6, 2.0) == 0.0
    assert allowed_noise([0.01], [1.0], 2.0) == math.inf


def four_bit_layers(model: ir.Model) -> int:
    """How many layers of an INT8 model have codes of four bits alone."""
    codes = [layer.initializer(1).const_value.numpy() for layer in layers_of(model)]
    return sum(bool(c.min() >= -8 and c.max() <= 7) for c in codes)


def test_a_limit_on_the_drop_takes_what_labels_allow(network: ir.Model) -> None:
    asked: list[int] = []

    def judged(model: ir.Model) -> Judged:
        asked.append(four_bit_layers(model))
        return Judged(1.0 + asked[-1], 17)

    found = {}
    for most in (0.0, 2.0, 100.0):
        asked.clear()
        goals = Goals(judged=judged, max_drop=most)
        found[most] = narrow(network, "mixed", goals, weights_loss_db=0.0).facts["four_bits"]
        assert asked[:2] == [0, found[most]["of"]] and len(set(asked)) == len(asked) <= 4
        rows = [p for p in found[most]["curve"] if p["drop"] is not None]
        assert {p["layers"]: (p["drop"], p["labels"]) for p in rows} == {n: (1.0 + n, 17) for n in asked}
        assert not any(p["refined"] for p in rows), "labels saw them before they were refined"
        assert sum(p["refined"] for p in found[most]["curve"]) <= 2
    assert found[0.0]["layers"] == [] and len(found[100.0]["layers"]) == found[0.0]["of"]
    assert 0 < len(found[2.0]["layers"]) < found[2.0]["of"]


def test_a_goal_decides_how_many_layers(network: ir.Model) -> None:
    curve = narrow(network, "mixed", weights_loss_db=60.0).facts["four_bits"]["curve"]
    middle = curve[len(curve) // 2]["weight_bytes"]
    facts = narrow(network, "mixed", Goals(flash_bytes=middle)).facts["four_bits"]
    assert facts["weight_bytes"] <= middle
    assert 0 < len(facts["layers"]) < facts["of"]
    strict = narrow(network, "mixed", Goals(keeps=lambda sqnr: False), weights_loss_db=60.0).facts["four_bits"]
    assert strict["layers"] == []


def test_a_goal_of_flash_is_what_the_predictor_says(network: ir.Model) -> None:
    target = "stm32n6570-dk@4.0"
    predicts = partial(model_costs, target=target)
    eight, four = (predicts(narrow(network, bits).model).flash_bytes for bits in ("int8", "int4"))
    wanted = (eight + four) // 2
    result = narrow(network, "mixed", Goals(flash_bytes=wanted, predicts=predicts))
    facts = result.facts["four_bits"]
    assert facts["weight_bytes"] == predicts(result.model).flash_bytes <= wanted
    assert 0 < len(facts["layers"]) < facts["of"]


def test_a_goal_of_time_takes_what_saves_time_first(network: ir.Model) -> None:
    """Of layers that are equally noisy, one goal asks for the bytes of one and the other for the time of another."""
    eight = narrow(network, "int8")
    names = narrow(network, "int4").facts["four_bits"]["layers"]

    def predicts(model: ir.Model) -> ModelCosts:
        four = [v.const_value.size for v in model.graph.initializers.values() if v.dtype == ir.DataType.INT4]
        layers = {name: 1.0 if four else 1.0 + (name == names[-1]) for name in names}
        return ModelCosts(sum(layers.values()), 10**6 - sum(four), layers)

    loss = {"weights_loss_db": 60.0}
    orders = [
        narrow(network, "mixed", Goals(predicts=predicts, **goal), **loss).facts["four_bits"]["layers"]
        for goal in ({"milliseconds": 1e-3}, {"flash_bytes": 1})
    ]
    assert eight.facts["four_bits"] == {}
    assert orders[0][0] == names[-1] and sorted(orders[0]) == sorted(orders[1]) == sorted(names)


def test_what_is_predicted_is_the_file(network: ir.Model) -> None:
    result = narrow(network, "int8")
    layers = narrow_layers(result.prepared, result.model, list(feeds((1, 3, 16, 16), 4)()))[:2]
    file, names = written(replaced(result.model, layers), {n.layer for n in layers}), {n.layer for n in layers}
    quick = written_with(in_their_opset(result.model), layers)
    assert (quick.ir_version, quick.opset_imports) == (file.ir_version, file.opset_imports)
    a, b = (dict(sorted(m.graph.initializers.items())) for m in (quick, file))
    assert list(a) == list(b) and len(names) == 2
    assert all(np.array_equal(a[n].const_value.numpy(), b[n].const_value.numpy()) for n in a)
    assert model_costs(quick, "stm32n6570-dk@4.0") == model_costs(file, "stm32n6570-dk@4.0")


def test_older_cores_have_none(tmp_path, capsys) -> None:
    from n6convert.api import make_draft
    from n6convert.pipeline.preflight import check_recipe
    from n6convert.recipe.checking import finish

    draft = make_draft("onnx")
    draft.set(("quantization", "weights"), "int4", "--set quantization.weights=int4")
    draft.set(("target",), "stm32n6570-dk@2.2", "--target")
    with pytest.raises(RecipeError, match="no four-bit weights"):
        check_recipe(finish(draft), draft)
    assert run(["recipe", "onnx", "--set", "quantization.weights=five"]) == 2
    assert "int4" in capsys.readouterr().err


@pytest.mark.parametrize(("text", "size"), [("2MiB", 2 << 20), ("900 KiB", 900 << 10), ("1.5MiB", 3 << 19), ("77", 77)])
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "2 GB", "-1", "0", "MiB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="no size"):
        parse_size(text)


def test_the_recipe_s_clocks_hold_in_every_stage(network: ir.Model, tmp_path: Path) -> None:
    from n6convert import convert

    ir.save(network, tmp_path / "net.onnx")
    (tmp_path / "samples").mkdir()
    for index, sample in enumerate(feeds((1, 3, 16, 16), 8)()):
        np.save(tmp_path / "samples" / f"{index}.npy", sample["x"])
    settings = {"quantization.weights": "mixed", "compiler.clocks": "400/400", "compiler.input_channels": "chfirst"}
    settings |= {f"quantization.{name}": value for name, value in PLAIN.items()}
    report = convert(
        "onnx",
        weights=tmp_path / "net.onnx",
        calibration=tmp_path / "samples",
        output=tmp_path / "out",
        settings=settings | {"acceptance.max_milliseconds": 0.326},
    ).report
    four = report.quantization.four_bits
    assert four.layers
    chosen = next(p for p in four.curve if p.layers == len(four.layers))
    assert chosen.milliseconds == pytest.approx(report.latency.milliseconds, abs=1e-4)
    assert report.rewrites.milliseconds["after"] == pytest.approx(four.curve[0].milliseconds, rel=0.1)
