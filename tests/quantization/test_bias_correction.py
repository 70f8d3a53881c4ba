from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.methods.bias_correction import METHOD
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.file import save_ranges
from n6convert.runtime import aside
from n6convert.runtime.halves import Half
from n6convert.runtime.session import run_model

from .nets import around_one, cnn, feeds, parse, pointwise, record
from .walk import float_islands

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_bias_correction_brings_means_behind_the_functions_back() -> None:
    from n6convert.quantization.layerwise.bias_correction import channel_means
    from n6convert.quantization.layerwise.refine import refine
    from n6convert.quantization.layerwise.walk import walk_layers

    model, samples = prepare(cnn()), list(feeds((1, 3, 16, 16), 32)())
    int8 = quantize(cnn(), feeds((1, 3, 16, 16), 32), PLAIN).model
    wanted = channel_means(model, samples)

    def shift(candidate: ir.Model) -> float:
        total = 0.0
        for layer in walk_layers(candidate, samples):
            target = wanted[layer.name]
            values = [target.functions(v)[0] for v in layer.outputs()]
            axis = 1 if values[0].ndim == 4 else values[0].ndim - 1
            others = tuple(i for i in range(values[0].ndim) if i != axis)
            means = np.mean([v.mean(axis=others) for v in values], axis=0)
            total += float(np.abs(means - target.means[:, 0].mean(axis=0)).sum())
        return total

    corrected = refine(model, int8, samples, rounding=False, bias=True)[0]
    assert shift(corrected) < 0.25 * shift(int8)
    assert float_islands(corrected) == []


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made by fork on Linux")
def test_two_processes_correct_biases_as_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    halves: dict[int, slice] = {}
    whole = PLAIN.model_copy(update={"bias_correction": "sequential", "effort": "thorough"})
    monkeypatch.setattr(aside, "_own", True)

    def corrected(threads: str) -> bytes:
        monkeypatch.setenv("N6CONVERT_THREADS", threads)
        model = quantize(cnn(), feeds((1, 3, 16, 16), 13), whole).model
        return bytes(ir.to_proto(model).SerializeToString(deterministic=True))

    span = Half.span
    monkeypatch.setattr(Half, "span", lambda half, count: halves.setdefault(count, span(half, count)))
    alone = corrected("1")
    assert halves.pop(13) == slice(0, 13)  # other work is shared by tensors
    assert corrected("2") == alone and halves[13] == slice(0, 7)


def test_bias_correction_leaves_alone_what_a_clip_forgets(tmp_path: Path) -> None:
    """A saturated background moves the mean before the Clip by 19, and nothing behind it."""
    from n6convert.quantization.layerwise.refine import refine

    model = parse(
        """net (float[1,1,32,32] x) => (float[1,1,32,32] y) {
          low = Constant<value_float=-7.0>() high = Constant<value_float=5.0>()
          a = Conv(x, w, b) y = Clip(a, low, high) }""",
        w=np.ones((1, 1, 1, 1), np.float32),
        b=np.zeros(1, np.float32),
    )
    samples = []
    for seed in range(8):
        logits = np.full((1, 1, 32, 32), -30, np.float32)
        logits[..., :3, :] = rng(seed).uniform(-6, 4, (3, 32))
        samples.append({"x": logits})
    save_ranges({"x": (-11.0, 5.0)}, tmp_path / "ranges.json")
    config = PLAIN.model_copy(update={"ranges_file": str(tmp_path / "ranges.json")})
    int8 = quantize(model, lambda: iter(samples), config).model
    corrected = refine(prepare(model), int8, samples, rounding=False, bias=True)[0]
    for sample in samples:
        found = run_model(corrected, sample)["y"]
        assert np.abs(found - sample["x"].clip(-7, 5)).max() < 0.1


def test_bias_correction_does_not_learn_accidents() -> None:
    from n6convert.quantization.layerwise.bias_correction import _shrunk

    gaps = rng(0).standard_normal((8, 1, 500))
    assert np.abs(_shrunk(gaps)).sum() < 0.5 * np.abs(gaps.mean(axis=0)).sum()
    assert np.allclose(_shrunk(gaps * 0.01 + 1.0), 1.0, atol=0.02)
    assert np.array_equal(_shrunk(gaps[:1]), gaps[0])


@pytest.mark.parametrize("kind", ["sequential", "off"])
def test_the_method_takes_the_shift_of_rounded_weights_away(kind: str) -> None:
    config = PLAIN.model_copy(update={"bias_correction": kind, "effort": "thorough"})  # one layer: 40 dB without
    result = quantize(pointwise(), around_one(), config, held_back=around_one(4, 7))
    found, before = record(result, METHOD.name), result.facts["methods"][0]
    assert (found is not None) == (kind != "off") == METHOD.wanted(config)
    if found is not None:
        assert found["kept"] and found["kind"] == kind and found["sqnr_db"] > before["sqnr_db"] + 3


def test_shifts_of_samples_that_are_not_met_again_are_refused() -> None:
    """Calibrated around one, judged around minus one: what is added to one makes the other worse."""
    others = [{"x": -s["x"]} for s in around_one(4, 7)()]
    config = PLAIN.model_copy(update={"bias_correction": "sequential", "effort": "thorough"})
    samples = [*others, *around_one(30)()]
    result = quantize(pointwise(), lambda: iter(samples), config, held_back=lambda: iter(others))
    found = record(result, METHOD.name)
    assert found is not None and not found["kept"]


@pytest.mark.parametrize(("effort", "tried"), [("default", False), ("thorough", True)])
def test_errors_without_anything_in_common_leave_nothing_to_correct(
    effort: str, tried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer whose weights are exact: its errors are those of rounded inputs and outputs."""
    model = parse(
        "net (float[1,8,16,16] x) => (float[1,8,16,16] y) { y = Conv(x, w, b) }",
        w=np.eye(8, dtype=np.float32)[..., None, None], b=np.zeros(8, np.float32),
    )  # fmt: skip
    config = PLAIN.model_copy(update={"bias_correction": "sequential", "effort": effort})
    samples = feeds((1, 8, 16, 16), 16)
    result = quantize(model, samples, config, held_back=feeds((1, 8, 16, 16), 16, seed=3))
    assert (record(result, METHOD.name) is not None) == tried
