from __future__ import annotations

import numpy as np
import pytest

from n6convert.runtime.session import run_model

from .graphs import GraphWriter
from .helpers import alone, apply, ops, stays


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_channel_pads(value: float) -> None:
    g = GraphWriter()
    pads = g.constant([0, 2, 0, 0, 0, 3, 0, 0], np.int64)
    result = apply(g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), pads, g.constant(value))), "channel-pad-to-conv")
    assert ops(result.model) == {"Conv": 1}


@pytest.mark.parametrize("pads", [[0, 2, 1, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 2, 0, 0]])
def test_other_pads_are_left_alone(pads: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), g.constant(pads, np.int64)))
    assert ops(apply(model, "channel-pad-to-conv").model)["Pad"] == 1


def test_the_channels_of_the_padding_hold_the_number() -> None:
    g = GraphWriter()
    pads = g.constant([0, 1, 0, 0, 0, 2, 0, 0], np.int64)
    run = alone(g.model(g.node("Pad", g.input("x", [1, 2, 3, 3]), pads, g.constant(0.5))), "channel-pad-to-conv")
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 3)).astype(np.float32)
    (found,) = run_model(run.model, {"x": x}).values()
    np.testing.assert_allclose(found, np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)), constant_values=0.5), rtol=1e-6)


def test_too_many_weights_are_refused() -> None:
    g = GraphWriter()
    model = g.model(g.node("Pad", g.input("x", [1, 512, 2, 2]), g.constant([0, 1, 0, 0, 0, 0, 0, 0], np.int64)))
    assert "262,656 weights" in stays(model, "channel-pad-to-conv")


@pytest.mark.parametrize("form", ["reflect", "computed", "three axes"])
def test_other_forms_stay(form: str) -> None:
    g = GraphWriter()
    x = g.input("x", [1, 4, 5] if form == "three axes" else [1, 4, 5, 5])
    pads = g.constant([0, 1, 0, 0, 1, 0] if form == "three axes" else [0, 1, 0, 0, 0, 1, 0, 0], np.int64)
    number = [g.node("Abs", g.input("v", []))] if form == "computed" else []
    model = g.model(g.node("Pad", x, pads, *number, mode="reflect" if form == "reflect" else "constant"))
    assert not stays(model, "channel-pad-to-conv")


@pytest.mark.parametrize(
    "pads", [[0, 2, 1, 0, 0, 0, 0, 0], [0, -1, 0, 0, 0, 2, 0, 0], [0] * 8, [1, 1, 0, 0, 0, 0, 0, 0]]
)
def test_pads_of_other_axes_and_none_by_themselves(pads: list[int]) -> None:
    g = GraphWriter()
    model = g.model(g.node("Pad", g.input("x", [1, 4, 5, 5]), g.constant(pads, np.int64)))
    assert not stays(model, "channel-pad-to-conv")
