"""The int8 grid: zero on it, nothing beyond half a step inside, and onnxruntime's own codes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_text import node_of, parsed, value_of

from n6convert.errors import OutputError, QuantizationError, SourceError
from n6convert.quantization.grid.affine import CODE_MAX, CODE_MIN, Grid
from n6convert.quantization.ranges.file import check_known, load_ranges, save_ranges
from n6convert.quantization.topology.sharing import (
    absorbed_by_grid,
    clip_bounds,
    clipped_with,
    fixed_range,
    passes_through,
)
from n6convert.runtime.session import run_model

ENDS = st.floats(-1e6, 1e6, width=32)


@given(ENDS, ENDS)
def test_a_grid_spans_its_range_and_holds_zero(a: float, b: float) -> None:
    low, high = min(a, b), max(a, b)
    grid = Grid.from_range(low, high)
    assert CODE_MIN <= grid.zero_point <= CODE_MAX and grid.scale > 0
    assert grid.round(np.float32([0.0])).tolist() == [0.0]
    if max(high, 0) - min(low, 0) > 1e-12:
        assert grid.low <= min(low, 0) + grid.scale and grid.high >= max(high, 0) - grid.scale
        assert grid.high - grid.low == pytest.approx(255 * grid.scale)


@given(ENDS, st.floats(0.0009765625, 1e6, width=32), st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=5))
def test_inside_the_range_nothing_moves_by_more_than_half_a_step(low: float, width: float, values: list[float]) -> None:
    grid = Grid.from_range(low, low + width)
    array = np.clip(np.float32(values), np.float32(grid.low), np.float32(grid.high))
    off = np.abs(grid.round(array).astype(float) - array) / grid.scale
    assert off.max() <= 0.5 + 1e-4
    np.testing.assert_array_equal(grid.codes(grid.values(grid.codes(array))), grid.codes(array))


@pytest.mark.parametrize(("low", "high", "scale", "zero"), [
    (0, 255, 1.0, -128), (-255, 0, 1.0, 127), (-127.5, 127.5, 1.0, 0), (0, 0, 1.0, 0), (5, 255, 1.0, -128),
    (-255, -5, 1.0, 127), (-1e-20, 1e-20, 1.0, 0), (-128, 127, 1.0, 0), (-1, 254, 1.0, -127),
])  # fmt: skip
def test_ranges_by_hand(low: float, high: float, scale: float, zero: int) -> None:
    assert Grid.from_range(low, high) == Grid(scale, zero)


def test_codes_are_those_that_onnx_writes() -> None:
    grid = Grid.from_range(-1.3, 2.7)
    x = np.concatenate([np.linspace(-3, 4, 1001), (np.arange(-140, 140) + 0.5) * grid.scale]).astype(np.float32)
    model = parsed("y = QuantizeLinear(x, s, z)", f"float[{x.size}] x", f"int8[{x.size}] y", s=grid.scale,
                   z=np.array(grid.zero_point, np.int8))  # fmt: skip
    np.testing.assert_array_equal(grid.codes(x), run_model(model, {"x": x})["y"])


RANGES = {"b": (-1.5, 2.0), 'a ü"': (0.0, 1e-7), "c": (np.float32(-0.1), np.float64(0.3))}


def test_ranges_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    save_ranges(RANGES, path)
    found = load_ranges(path)
    assert found == {name: (float(low), float(high)) for name, (low, high) in RANGES.items()}
    assert list(json.loads(path.read_text())["ranges"]) == sorted(RANGES), "one tensor a line, sorted"
    assert len(path.read_text().splitlines()) == 4 + len(RANGES) + 1
    save_ranges({}, path)
    assert load_ranges(path) == {}
    with pytest.raises(OutputError, match="cannot write"):
        save_ranges(RANGES, tmp_path / "none" / "ranges.json")


@pytest.mark.parametrize(
    "span", ["[1]", "[1, 2, 3]", "[2, 1]", "null", '["0", "1"]', "[true, 1]", "[0, 1e31]", "[NaN, 1]", "{}"]
)
def test_a_wrong_range_is_named(span: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(f'{{"format": "n6convert ranges 1", "ranges": {{"good": [0, 1], "bad": {span}}}}}')
    with pytest.raises(SourceError, match="a range is wrong") as caught:
        load_ranges(path)
    assert str(caught.value.place).endswith("tensor bad") and "low <= high" in str(caught.value.limit)


NO_RANGES = [
    "", "[]", "{}", '{"format": "other", "ranges": {}}', '{"format": "n6convert ranges 1"}',
    '{"format": "n6convert ranges 1", "ranges": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", NO_RANGES)
def test_what_is_no_file_of_ranges(text: str, tmp_path: Path) -> None:
    path = tmp_path / "ranges.json"
    path.write_text(text)
    with pytest.raises(SourceError) as caught:
        load_ranges(path)
    assert caught.value.place == path and "--save-ranges" in str(caught.value.remedy)


def test_ranges_of_another_model() -> None:
    known = {"a": (0.0, 1.0), "b": (0.0, 2.0)}
    assert check_known(known, ["a"]) == {"a": (0.0, 1.0)}
    with pytest.raises(QuantizationError, match="do not cover the model") as caught:
        check_known(known, ["a", "c", "d"])
    assert caught.value.place == "tensor c" and caught.value.found == "2 tensors without a range"


def net(body: str, outputs: str = "float[] y", **constants: object) -> ir.Model:
    more = {"zero": 0.0, "six": 6.0, "one": 1.0, "minus": -1.0, "many": [1.0, 3.0], "w": np.ones((4, 4, 1, 1))}
    return parsed(body, "float[1,4,2,2] x", outputs, **(more | constants))  # type: ignore[arg-type]


INF = float("inf")


@pytest.mark.parametrize(("body", "bounds"), [
    ("y = Relu(x)", (0.0, INF)), ("y = Clip(x, zero, six)", (0.0, 6.0)), ("y = Clip(x, , six)", (-INF, 6.0)),
    ("y = Clip(x, minus)", (-1.0, INF)), ("y = Clip(x)", (-INF, INF)), ("y = Clip(x, one, six)", None),
    ("y = Clip(x, minus, minus)", None), ("y = Min(x, six)", (-INF, 6.0)), ("y = Min(x, minus)", None),
    ("y = Min(x, x)", None), ("n = Neg(one) y = Clip(x, n, six)", None), ("y = Tanh(x)", None),
    ("y = Max(x, zero)", None),
])  # fmt: skip
def test_bounds_around_zero(body: str, bounds: tuple[float, float] | None) -> None:
    assert clip_bounds(list(net(body).graph)[-1]) == bounds


def test_a_clip_is_its_authors_word_only_at_the_end() -> None:
    model = net("a = Clip(x, zero, six) y = Clip(a, minus, six) z = Clip(x, zero)", "float[] y, float[] z")
    assert fixed_range(value_of(model, "a")) is None and fixed_range(value_of(model, "y")) == (-1.0, 6.0)
    assert fixed_range(value_of(model, "z")) is None, "open above"
    assert fixed_range(value_of(net("y = Sigmoid(x)"), "y")) == (0.0, 1.0) and fixed_range(value_of(model, "x")) is None


@pytest.mark.parametrize(("body", "absorbed"), [
    ("c = Conv(x, w) y = Relu(c)", {"y": (0.0, INF)}),
    ("c = Conv(x, w) y = Clip(c, zero, six)", {"y": (0.0, 6.0)}),
    ("c = Conv(x, w) t = Transpose(c) y = Relu(t)", {"y": (0.0, INF)}),
    ("c = Conv(x, w) y = Relu(c) z = Neg(c)", {}),
    ("y = Relu(x)", {}),
    ("c = Sigmoid(x) y = Relu(c)", {}),
    ("c = Conv(x, w) d = Conv(x, w) j = Concat<axis=1>(c, d) y = Relu(j)", {"y": (0.0, INF)}),
    ("c = Conv(x, w) j = Concat<axis=1>(c, x) y = Relu(j)", {}),
    ("c = Conv(x, w) y = Clip(c, one, six)", {}),
])  # fmt: skip
def test_activations_that_saturation_replaces(body: str, absorbed: dict[str, tuple[float, float]]) -> None:
    outputs = "float[] y, float[] z" if " z = " in body else "float[] y"
    assert absorbed_by_grid(net(body, outputs).graph) == absorbed


def test_what_only_moves_values() -> None:
    model = net("""t = Transpose(x) r = Resize<mode="nearest">(t, , s) u = Resize<mode="linear">(r, , s) y = Relu(u)""",
                s=[1.0, 1.0, 2.0, 2.0])  # fmt: skip
    moves = [passes_through(n) for n in model.graph]
    assert moves == [True, True, False, False]
    assert clipped_with(value_of(model, "u")) == [value_of(model, "u")] and clipped_with(value_of(model, "r")) == []
    assert node_of(model, "Relu").inputs[0] is value_of(model, "u")
