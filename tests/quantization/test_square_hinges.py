"""Hinges of squares: what they sum to, and how few weights pick them."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.graph.builder import Builder
from n6convert.quantization.reparameterization.square_hinges import square_hinges
from n6convert.runtime.session import run_model

from .nets import parse

CHANNELS, READERS, LIMIT = 64, 8, 2.0


@pytest.mark.parametrize("loud", [1, 3, 40, 64])
def test_hinges_sum_to_squares_and_take_few_weights(loud: int) -> None:
    """Rows that pick one channel each took 64 weights a hinge, however many there were."""
    random = np.random.default_rng(0)
    peaks = np.where(np.arange(CHANNELS) < loud, random.uniform(3, 40, (2, CHANNELS)), 1.0)
    hinges = square_hinges(peaks, LIMIT)
    model = parse(f"g (float[1, {CHANNELS}, 5, 1] c) => (float[1, {CHANNELS}, 5, 1] y) {{ y = Relu (c) }}")
    build = Builder(model.graph, "h", 17)
    found, slopes = hinges.map(build, model.graph.inputs[0], READERS)
    model.graph.extend(build.nodes)
    found.name = "hinges"
    model.graph.outputs.append(found)
    at = random.uniform(-peaks[1], peaks[0], (5, CHANNELS))
    values = run_model(model, {"c": at.T[None, :, :, None].astype(np.float32)}, threads=1)["hinges"]
    sums = np.einsum("c,cn->n", slopes, values[0, :, :, 0])
    beyond = np.maximum(at**2 - LIMIT**2, 0).sum(1)
    assert np.all(np.abs(sums - beyond) <= 0.045 * (beyond + LIMIT**2)), "chords between knots 1.5 times apart"
    weights = sum(v.const_value.size for v in model.graph.initializers.values() if len(v.shape or ()) == 4)
    taken = weights + READERS * len(slopes)
    assert taken <= len(hinges) * (CHANNELS + READERS)
    assert loud < 40 or taken < 0.5 * len(hinges) * (CHANNELS + READERS)
