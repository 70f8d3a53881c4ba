"""Networks written node by node: names, shared constants, shapes, and one writer for all that build from nothing."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from n6convert.graph.network import NetworkWriter
from n6convert.runtime.session import run_model

ROOT = Path(__file__).parents[2]


def test_a_network_computes_what_was_written() -> None:
    net = NetworkWriter("small")
    x = net.input("x", (1, 4, 5, 5))
    weight = np.random.default_rng(0).standard_normal((6, 2, 3, 3)).astype(np.float32)
    y = net.conv("conv", x, weight, np.ones(6, np.float32), stride=2, groups=2)
    left, right = net.split("halves", y, [2, 4])
    joined = net.op("Concat", None, net.slice("part", right, 1, 3, axis=1), left, axis=1)
    out = net.reshape("out", joined, [1, 36])
    model = net.finish([x], [out])
    assert [n.name for n in model.graph][:2] == ["conv", "halves"] and [v.name for v in model.graph.outputs] == ["out"]
    assert list(model.graph.outputs[0].shape or ()) == [1, 36] and (model.ir_version, model.opset_imports[""]) == (
        8,
        17,
    )
    image = np.random.default_rng(1).standard_normal((1, 4, 5, 5)).astype(np.float32)
    whole = NetworkWriter("conv alone")
    source = whole.input("x", (1, 4, 5, 5))
    conv = whole.conv("conv", source, weight, np.ones(6, np.float32), stride=2, groups=2)
    maps = run_model(whole.finish([source], [conv]), {"x": image})["conv"]
    assert maps.shape == (1, 6, 3, 3)
    padded = np.pad(image[0, :2], ((0, 0), (1, 1), (1, 1)))
    np.testing.assert_allclose(maps[0, 0, 1, 1], (padded[:, 2:5, 2:5] * weight[0]).sum() + 1, rtol=1e-4)
    expected = np.concatenate([maps[:, 3:5], maps[:, :2]], axis=1).reshape(1, 36)
    np.testing.assert_array_equal(run_model(model, {"x": image})["out"], expected)


def test_constants_are_shared_by_name_and_scalars_stay_scalars() -> None:
    net = NetworkWriter("constants")
    assert net.constant("half", np.float32(0.5)) is net.constant("half", np.float32(0.5))
    assert net.integers([1, 2]) is net.integers([1, 2]) and net.integers([1, 2]) is not net.integers([2, 1])
    value = net.constant("half", np.float32(0.5)).const_value
    assert value is not None and list(value.shape) == []


def test_plugins_have_no_writer_of_their_own() -> None:
    tapes = [p.name for p in (ROOT / "plugins").rglob("*.py") if re.search(r"\bTape\(\)", p.read_text("utf-8"))]
    assert tapes == ["surgery.py"], "a tape that only edits a graph"
