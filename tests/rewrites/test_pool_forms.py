from __future__ import annotations

from typing import Any

import pytest

from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, software


def pooled(op: str, size: int, kernel: int, **given: Any):
    g = GraphWriter()
    return g.model(g.node(op, g.input("x", [1, 8, size, size]), kernel_shape=[kernel] * 2, **given))


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
def test_the_whole_map_is_a_global_pool(op: str) -> None:
    result = apply(pooled(op, 20, 20, strides=[20, 20]), "pool-forms")
    assert ops(result.model) == {f"Global{op}": 1}
    assert software(pooled(op, 20, 20, strides=[20, 20]), OLD) and not software(result.model, OLD)


@pytest.mark.parametrize("op", ["AveragePool", "MaxPool"])
@pytest.mark.parametrize(("size", "kernel", "pools"), [(24, 6, 2), (24, 4, 2), (36, 12, 3), (40, 10, 2)])
def test_large_windows_are_small_ones_in_a_row(op: str, size: int, kernel: int, pools: int) -> None:
    result = apply(pooled(op, size, kernel, strides=[kernel] * 2), "pool-forms")
    assert ops(result.model)[op] == pools
    assert not software(result.model, NEW)


@pytest.mark.parametrize(
    ("size", "given"),
    [(24, {"strides": [2, 2]}), (24, {"strides": [6, 6], "pads": [1] * 4}), (27, {"strides": [6, 6]})],
)
def test_overlapping_padded_and_cropped_pools_stay(size: int, given: dict[str, Any]) -> None:
    assert not apply(pooled("MaxPool", size, 6, **given), "pool-forms").applied
