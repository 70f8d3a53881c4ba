"""Ranges: streaming against naive references, and against onnxruntime's own calibrators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import QuantizationError, SourceError
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.ranges.calibrate import HISTOGRAM_VALUES, Statistics, calibrate
from n6convert.quantization.ranges.estimators import entropy_range, mse_range, percentile_range, range_error
from n6convert.quantization.ranges.file import load_ranges, save_ranges
from n6convert.quantization.ranges.histogram import Histogram

from .nets import cnn, feeds, parse


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=8), st.integers(0, 1000))
def test_growing_histogram_equals_one_made_at_once(scales: list[float], seed: int) -> None:
    rng = np.random.default_rng(seed)
    parts = [(rng.standard_normal(500) * s).astype(np.float32) for s in scales]
    histogram = Histogram()
    for part in parts:
        histogram.add(part, float(np.abs(part).max()))
    naive, _ = np.histogram(np.concatenate(parts).astype(np.float64), histogram.edges)
    assert histogram.counts.sum() == naive.sum()
    assert np.abs(np.cumsum(histogram.counts) - np.cumsum(naive)).max() <= 2  # float32 rounding at an edge


def test_histogram_of_tiny_values_and_of_values_on_its_edges() -> None:
    histogram = Histogram()
    values = np.array([-1e-38, -1e-44, 0.0, 1e-38, 1e-30], np.float32)
    histogram.add(values, 1e-30)
    assert histogram.counts.sum() == values.size
    edges = Histogram()
    edges.add(np.array([-2.0, -1e-6, 0.0, 2.0], np.float32), 2.0)
    assert [int(edges.counts[i]) for i in (0, edges.half - 1, edges.half, -1)] == [1, 1, 1, 1]


def test_histogram_keeps_its_size_however_much_it_sees() -> None:
    histogram = Histogram()
    for i in range(50):
        histogram.add(np.full(100, 10.0**i / 1e20, np.float32), 10.0**i / 1e20)
    assert histogram.counts.size == 2 * histogram.half
    assert histogram.counts.sum() == 5000


@pytest.mark.parametrize("channels", [32, 48, 100])
def test_large_tensors_are_sampled_without_falling_into_step_with_their_channels(channels: int) -> None:
    """Channels of very different means, channels last: each must get its share of the histogram in every sample."""
    shape, offsets = (1, 150, 200, channels), np.linspace(-50, 50, channels, dtype=np.float32)
    statistics = Statistics(histogram=Histogram())
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32) + offsets
    statistics.add(values)
    histogram = statistics.histogram
    assert histogram is not None
    assert histogram.counts.sum() == HISTOGRAM_VALUES < values.size
    naive, _ = np.histogram(values, histogram.edges)
    gap = np.cumsum(histogram.counts) / histogram.counts.sum() - np.cumsum(naive) / naive.sum()
    assert np.abs(gap).max() < 0.02


def seen(values: np.ndarray) -> Histogram:
    histogram = Histogram()
    histogram.add(values.astype(np.float32), float(np.abs(values).max()))
    return histogram


def test_percentile_is_the_naive_one_within_a_bin() -> None:
    values = np.random.default_rng(0).standard_normal(200_000)
    histogram = seen(values)
    low, high = percentile_range(histogram, 99.0)
    assert abs(low - np.percentile(values, 0.5)) <= histogram.width
    assert abs(high - np.percentile(values, 99.5)) <= histogram.width


def test_mse_beats_minmax_and_every_range_on_a_dense_search() -> None:
    values = np.random.default_rng(1).standard_t(3, 100_000)
    histogram, whole = seen(values), (float(values.min()), float(values.max()))
    found = mse_range(histogram, whole)

    def naive(span: tuple[float, float]) -> float:
        return float(np.mean((Grid.from_range(*span).round(values) - values) ** 2))

    dense = [(whole[0] * a, whole[1] * b) for a in np.linspace(0.02, 1, 25) for b in np.linspace(0.02, 1, 25)]
    assert naive(found) < 0.9 * naive(whole)
    assert naive(found) <= 1.05 * min(naive(span) for span in dense)


def test_error_on_the_histogram_is_the_naive_one() -> None:
    values = np.random.default_rng(2).standard_normal(100_000)
    span = (-2.0, 2.5)
    gap = Grid.from_range(*span).round(values) - values
    expected = np.sum(gap**2) / np.sum(values**2)
    assert range_error(seen(values), [span])[0] == pytest.approx(expected, rel=0.03)


def test_entropy_clips_a_lone_outlier_but_not_a_uniform_tensor() -> None:
    rng = np.random.default_rng(3)
    lonely = np.append(rng.standard_normal(100_000), 1000.0)
    assert entropy_range(seen(lonely), (float(lonely.min()), 1000.0))[1] < 500
    flat = rng.uniform(-1, 1, 100_000)
    low, high = entropy_range(seen(flat), (float(flat.min()), float(flat.max())))
    assert low < -0.9 and high > 0.9


_TENSORS = {
    "normal": lambda rng: rng.standard_normal(200_000),
    "laplace": lambda rng: rng.laplace(size=200_000),
    "heavy tails": lambda rng: rng.standard_t(3, 200_000),
    "uniform": lambda rng: rng.uniform(-1, 1, 200_000),
    "lone outlier": lambda rng: np.append(rng.standard_normal(200_000), 40.0),
}


@pytest.mark.parametrize("name", _TENSORS)
def test_entropy_agrees_with_onnxruntimes_where_that_has_enough_bins(name: str) -> None:
    from onnxruntime.quantization.calibrate import HistogramCollector

    values = _TENSORS[name](np.random.default_rng(0)).astype(np.float32)
    theirs = HistogramCollector("entropy", False, 2048, 255, 99.999, "same")
    theirs.collect({"x": [values]})
    threshold = max(abs(float(v)) for v in theirs.compute_collection_result()["x"][:2])
    low, high = entropy_range(seen(values), (float(values.min()), float(values.max())))
    assert max(-low, high) == pytest.approx(threshold, rel=0.3)
    if name in ("heavy tails", "lone outlier"):
        assert max(-low, high) < 0.5 * np.abs(values).max()


def test_moving_average_follows_the_formula() -> None:
    statistics, rng = Statistics(), np.random.default_rng(4)
    low, parts = None, [rng.standard_normal(50).astype(np.float32) for _ in range(5)]
    for part in parts:
        statistics.add(part)
        low = float(part.min()) if low is None else low + 0.01 * (float(part.min()) - low)
    assert statistics.moving_low == pytest.approx(low)


def attention() -> ir.Model:
    """A product with a scale on both sides, as attention has it: onnxruntime fuses them when it may."""
    weights = np.random.default_rng(5).standard_normal((3, 16, 16)).astype(np.float32)
    body = """net (float[1,12,16] x) => (float[1,12,16] y) {
      q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
      t = Transpose<perm=[0,2,1]>(k) r = Constant<value_float=0.37>() qs = Mul(q, r) ts = Mul(t, r)
      a = MatMul(qs, ts) p = Softmax<axis=-1>(a) y = MatMul(p, v) }"""
    return parse(body, wq=weights[0], wk=weights[1], wv=weights[2])


@pytest.mark.parametrize(("make", "shape"), [(cnn, (1, 3, 16, 16)), (attention, (1, 12, 16))])
def test_minmax_is_that_of_onnxruntimes_calibrator(make: Any, shape: tuple[int, ...], tmp_path: Path) -> None:
    """But for the last bits: ours have nine."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, MinMaxCalibrater

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = feeds(shape, 6)()

        def get_next(self) -> dict | None:
            return next(self.left, None)

    path = tmp_path / "net.onnx"
    onnx.save(ir.to_proto(make()), path)
    calibrater = MinMaxCalibrater(path, augmented_model_path=str(tmp_path / "augmented.onnx"))
    calibrater.augment_graph()
    calibrater.create_inference_session()
    calibrater.collect_data(Reader())
    theirs = calibrater.compute_data().data
    names = [v.name for n in make().graph if n.op_type != "Constant" for v in n.outputs]
    ours = calibrate(make(), feeds(shape, 6), names)
    compared = 0
    for name in names:
        if name in theirs:
            low, high = theirs[name].range_value
            found, wanted = (ours[name].low, ours[name].high), (low.item(), high.item())
            np.testing.assert_allclose(found, wanted, rtol=2**-9, atol=2e-6 * max(map(abs, wanted)), err_msg=name)
            compared += 1
    assert compared >= 8


def test_swish_input_is_not_spent_on_what_the_swish_forgets() -> None:
    model = parse("net (float[1,4096] x) => (float[1,4096] y) { e = Neg(x) s = Sigmoid(e) y = Mul(e, s) }")
    source = feeds((1, 4096), 4)

    def scaled():
        for sample in source():
            yield {"x": np.where(sample["x"] > 0, sample["x"] * 20, sample["x"]).astype(np.float32)}

    result = quantize(model, scaled, QuantizationConfig(ranges="mse"))
    assert result.ranges["e"][0] > -15  # of about -80


def test_ranges_are_saved_edited_and_used_again(tmp_path: Path) -> None:
    source = feeds((1, 3, 16, 16))
    config = QuantizationConfig(ranges="percentile", equalization=False, bias_correction=False, rounding="nearest")
    first = quantize(cnn(), source, config)
    path = tmp_path / "ranges.json"
    save_ranges(first.ranges, path)
    assert load_ranges(path) == first.ranges
    again = quantize(cnn(), source, config.model_copy(update={"ranges_file": str(path)}))
    assert ir.to_proto(again.model).SerializeToString() == ir.to_proto(first.model).SerializeToString()
    save_ranges(first.ranges | {"x": (-1.0, 1.0)}, path)
    edited = quantize(cnn(), source, config.model_copy(update={"ranges_file": str(path)}))
    scale = edited.model.graph.initializers["x_scale"].const_value
    assert scale is not None and float(scale.numpy()) == pytest.approx(2 / 255)


def test_wrong_ranges_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text("[1, 2]")
    with pytest.raises(SourceError):
        load_ranges(path)
    path.write_text('{"format": "n6convert ranges 1", "ranges": {"x": [2, 1]}}')
    with pytest.raises(SourceError, match="a range is wrong") as caught:
        load_ranges(path)
    assert "tensor x" in str(caught.value)
    save_ranges({"x": (0.0, 1.0)}, path)
    with pytest.raises(QuantizationError, match="do not cover"):
        quantize(cnn(), feeds((1, 3, 16, 16)), QuantizationConfig(ranges_file=str(path)))
