"""The automatic choice of ranges: an outlier stays where a weight makes it matter and is clipped where nothing does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization.ranges.auto import choose_ranges
from n6convert.quantization.ranges.estimators import Range
from n6convert.runtime.session import run_model
from tests.onnx_text import Array, drawn, parsed

TIGHT, WIDE = (-3.0, 3.0), (-100.0, 100.0)


def _with_an_outlier(weight_of_it: float) -> tuple[ir.Model, Array]:
    """Sixteen channels, of which the last one is 80 on every sample and read with a weight of its own."""
    weight = np.random.default_rng(0).standard_normal((16, 4))
    weight[15] = weight_of_it
    x = drawn({"x": [8, 16]})["x"].clip(-2.9, 2.9)
    x[:, 15] = 80
    return parsed("r = Identity(x) a = Add(r, zero) y = MatMul(a, w)", "float[8,16] x", "float[8,4] y",
                  w=weight, zero=np.zeros(16)), x  # fmt: skip


def _chosen(model: ir.Model, samples: list[Array], options: Mapping[str, Range], name: str = "a") -> str:
    return choose_ranges(model, [{"x": x} for x in samples], {name: options}, threads=1)[name]


@pytest.mark.parametrize(("weight", "expected"), [(0.0, "tight"), (1e-4, "tight"), (0.5, "wide"), (-3.0, "wide")])
@pytest.mark.parametrize("turned", [False, True])
def test_an_outlier_counts_as_much_as_its_weight(weight: float, expected: str, turned: bool) -> None:
    model, x = _with_an_outlier(weight)
    options = {"tight": TIGHT, "wide": WIDE}
    assert _chosen(model, [x], dict(reversed(options.items())) if turned else options) == expected


def test_of_equal_candidates_the_first_one_stays() -> None:
    model, x = _with_an_outlier(1.0)
    assert _chosen(model, [x], {"one": WIDE, "same": WIDE, "worse": TIGHT}) == "one"
    assert _chosen(model, [x], {"worse": TIGHT, "one": WIDE, "same": WIDE}) == "one"
    assert _chosen(model, [x * 0], {"b": TIGHT, "a": WIDE}) == "b"  # nothing is lost either way


def test_a_single_candidate_needs_no_trial() -> None:
    model, _ = _with_an_outlier(1.0)
    assert choose_ranges(model, [], {"a": {"only": TIGHT}}) == {"a": "only"}
    assert choose_ranges(model, [], {}) == {}


def _by_hand(model: ir.Model, x: Array, span: Range) -> float:
    """Error of the output when the tensor alone has 256 values."""
    step = (span[1] - span[0]) / 255
    zero = np.rint(-128 - span[0] / step)
    codes = np.clip(np.rint(x / step) + zero, -128, 127)
    exact, rounded = (run_model(model, {"x": v.astype(np.float32)})["y"] for v in (x, (codes - zero) * step))
    return float(((exact - rounded) ** 2).sum() / (exact**2).sum())


@pytest.mark.parametrize("seed", range(6))
def test_the_choice_is_the_least_error_of_what_reads_the_tensor(seed: int) -> None:
    random = np.random.default_rng(seed)
    model = parsed(
        "a = Add(x, zero) y = MatMul(a, w)",
        "float[8,16] x",
        "float[8,4] y",
        w=random.standard_normal((16, 4)) * random.uniform(0, 4, (16, 1)),
        zero=np.zeros(16),
    )
    samples = [random.standard_t(2, (8, 16)).astype(np.float32) for _ in range(2)]
    options = {str(w): (-w, w) for w in (2.0, 4.0, 8.0, 16.0)}
    errors = {name: sum(_by_hand(model, x, span) for x in samples) for name, span in options.items()}
    assert _chosen(model, samples, options) == min(errors, key=errors.__getitem__)


def test_every_sample_counts_and_is_told() -> None:
    model, x = _with_an_outlier(1.0)
    small = x.copy()
    small[:, 15] = 0
    told: list[tuple[str, int, int]] = []
    options = {"a": {"tight": TIGHT, "wide": WIDE}}
    # most samples would do with less, the one with the outlier loses nearly all of its energy
    feeds = [{"x": v} for v in (small, small, x)]
    found = choose_ranges(model, feeds, options, threads=1, progress=lambda *said: told.append(said))
    assert found == {"a": "wide"}
    assert told == [("choosing ranges", i, 3) for i in (1, 2, 3)]
    assert choose_ranges(model, feeds[:2], options, threads=1) == {"a": "tight"}


def test_an_output_that_nobody_reads_counts_as_itself() -> None:
    model = parsed("y = Relu(x)", "float[1,64] x", "float[1,64] y")
    x = drawn({"x": [1, 64]})["x"]
    assert _chosen(model, [x], {"wide": (0.0, 100.0), "tight": (0.0, 3.0)}, name="y") == "tight"
    assert _chosen(model, [x * 30], {"wide": (0.0, 100.0), "tight": (0.0, 3.0)}, name="y") == "wide"
