from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "stft-to-conv"


def spectrum(
    batch: int, step: int, size: int, *, window: bool, onesided: int, last: bool = True
) -> tuple[GraphWriter, str]:
    """Power of a short-time spectrum, as front ends of keyword spotters take it."""
    g = GraphWriter()
    x = g.input("x", [batch, 300, 1] if last else [batch, 300])
    hop, length = g.constant(step, np.int64), g.constant(size, np.int64)
    taper = g.constant(np.hanning(size).astype(np.float32)) if window else ""
    s = g.node("STFT", x, hop, taper, "" if window else length, onesided=onesided)
    return g, g.node("ReduceSum", g.node("Mul", s, s), g.constant([3], np.int64), keepdims=0)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [True, False])
@pytest.mark.parametrize(("batch", "step", "size"), [(1, 16, 64), (2, 10, 25), (1, 300, 300), (1, 7, 32)])
def test_the_same_spectrum(batch: int, step: int, size: int, window: bool, onesided: int) -> None:
    g, y = spectrum(batch, step, size, window=window, onesided=onesided)
    assert "STFT" not in ops(apply(g.model(y), RULE).model)


def test_no_part_of_it_runs_on_the_cpu() -> None:
    g, y = spectrum(1, 16, 64, window=True, onesided=1)
    model = g.model(y)
    result = rewrite(model, None, RewriteConfig(), target=NEW)
    assert "STFT" in ops(model) and not software(result.model, NEW)


def test_a_window_of_the_network_is_refused_by_name() -> None:
    g = GraphWriter()
    x, w = g.input("x", [1, 300, 1]), g.input("w", [64])
    y = g.node("STFT", x, g.constant(16, np.int64), g.node("Relu", w), onesided=1)
    assert "window" in reasons(apply(g.model(y), RULE), RULE)
