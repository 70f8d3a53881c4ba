from __future__ import annotations

import numpy as np
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import GraphWriter
from .helpers import NEW, apply, ops, reasons, software

RULE = "dft-to-matmul"


def transform(shape: list[int], axis: int, length: int | None = None, **attributes: int) -> tuple[GraphWriter, str]:
    g = GraphWriter()
    x = g.input("x", shape)
    size = [] if length is None else [g.constant(length, np.int64)]
    s = g.node("DFT", x, *size, axis=axis, **attributes)
    return g, g.node("Mul", s, s)


@pytest.mark.parametrize("length", [None, 12, 40])
@pytest.mark.parametrize(
    ("shape", "axis"), [([1, 24, 1], 1), ([1, 24, 2], 1), ([2, 3, 24, 1], 2), ([1, 24, 5, 1], 1), ([1, 24, 5, 2], -3)]
)
@pytest.mark.parametrize("kind", [{}, {"onesided": 1}, {"inverse": 1}])
def test_the_same_spectrum(shape: list[int], axis: int, length: int | None, kind: dict[str, int]) -> None:
    if "onesided" in kind and shape[-1] == 2:
        return  # ONNX knows half a spectrum of real signals only
    g, y = transform(shape, axis, length, **kind)
    assert "DFT" not in ops(apply(g.model(y), RULE).model)


def test_no_part_of_it_runs_on_the_cpu() -> None:
    g, y = transform([1, 8, 64, 1], 2, onesided=1)
    result = rewrite(g.model(y), None, RewriteConfig(), target=NEW)
    assert not software(result.model, NEW)


def test_a_long_signal_is_refused_with_the_limit() -> None:
    g, y = transform([1, 4096, 1], 1, onesided=1)
    assert "16 MiB" in reasons(apply(g.model(y), RULE), RULE)
