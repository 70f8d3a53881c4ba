from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import NEW, OLD, alone, apply, ops, software, stays


def focus(channels: int = 3, size: int = 16):
    g = GraphWriter()
    x = g.input("x", [1, channels, size, size])
    parts = [g.every(g.every(x, 2, i), 3, j) for j in (0, 1) for i in (0, 1)]
    return g.model(g.node("Concat", *parts, axis=1))


@pytest.mark.parametrize("target", [OLD, NEW])
def test_a_focus_layer_is_one_convolution(target: str) -> None:
    result = apply(focus(), "focus-to-conv", target=target)
    assert ops(result.model) == {"Conv": 1}
    assert software(focus(), target) and not software(result.model, target)


@pytest.mark.parametrize("size", [2, 4])
def test_every_pixel_comes_once(size: int) -> None:
    run = alone(focus(size=size), "focus-to-conv")
    x = np.random.default_rng(0).standard_normal((1, 3, size, size)).astype(np.float32)
    (found,) = run_model(run.model, {"x": x}).values()
    corners = [x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)]
    np.testing.assert_array_equal(found, np.concatenate(corners, axis=1))


@pytest.mark.parametrize("form", ["two maps", "two steps", "rows", "whole"])
def test_other_joins_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 3, 8, 8])
    first = g.every(g.every(x, 2, 0), 3, 0)
    second = {
        "two maps": lambda: g.every(g.every(g.input("y", [1, 3, 8, 8]), 2, 0), 3, 0),
        "two steps": lambda: g.every(g.every(g.input("z", [1, 3, 16, 8]), 2, 0, 4), 3, 0),
        "rows": lambda: g.every(g.every(x, 2, 1), 3, 0),
        "whole": lambda: g.input("y", [1, 3, 4, 4]),
    }[form]()
    assert not stays(g.model(g.node("Concat", first, second, axis=2 if form == "rows" else 1)), "focus-to-conv")


def test_too_many_weights_are_refused() -> None:
    assert "270,400 weights" in stays(focus(channels=130, size=2), "focus-to-conv")
