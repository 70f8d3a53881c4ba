"""Names of the arrays in what is left of a pickle: torch's own names, whatever is around them, and no endless walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from n6convert.checkpoints.records import Record, flatten, walk_modules
from n6convert.errors import SourceError


def _module(parameters: Any = (), buffers: Any = (), children: Any = (), hidden: Any = ()) -> Record:
    """Parameters and buffers by name, each an array of its own."""
    found = Record()
    found.state = {
        "_parameters": {name: np.full(2, i) for i, name in enumerate(parameters)},
        "_buffers": {name: np.full(3, i) for i, name in enumerate(buffers)},
        "_modules": dict(children),
        "_non_persistent_buffers_set": set(hidden),
    }
    return found


def test_names_and_their_order_are_those_of_torchs_state_dict() -> None:
    # Sequential(Conv2d(1, 2, 3), Sequential(BatchNorm2d(2)), ReLU()) with a buffer that is not saved
    norm = _module(["weight", "bias"], ["running_mean", "running_var", "num_batches_tracked"])
    layers = {"0": _module(["weight", "bias"]), "1": _module(children={"0": norm}), "2": _module()}
    assert list(flatten(_module(["scale"], ["mask", "kept"], layers, hidden=["mask"]))) == [
        "scale",
        "kept",
        "0.weight",
        "0.bias",
        "1.0.weight",
        "1.0.bias",
        "1.0.running_mean",
        "1.0.running_var",
        "1.0.num_batches_tracked",
    ]


@pytest.mark.parametrize(
    "wrapper", ["state_dict", "model_state_dict", "model_state", "model", "module", "net", "params"]
)
def test_a_state_dict_is_found_in_its_usual_wrappers(wrapper: str) -> None:
    inner = {"a.weight": np.ones(2), "epoch": 3, "a.bias": np.zeros(1)}
    assert list(flatten({wrapper: inner, "optimizer": {"a.weight": np.zeros(9)}})) == ["a.weight", "a.bias"]
    assert list(flatten({"epoch": 1, wrapper: {"state_dict": {"model": inner}}})) == ["a.weight", "a.bias"]
    assert list(flatten({wrapper: _module(["w"])})) == ["w"]


@pytest.mark.parametrize(
    ("tree", "names"),
    [
        ({}, []),
        (None, []),
        ([np.ones(2)], []),
        (np.ones(2), []),
        ({"model": None, "params": {"w": np.ones(1)}}, ["w"]),
        ({"model": "yolov8n.yaml"}, []),
        # arrays beside a wrapper: the file is a state dict that has a module called so
        ({"w": np.ones(1), "model": {"v": np.ones(1)}}, ["w"]),
        ({7: np.ones(1)}, ["7"]),
        ({"model": {"model": {"model": {"model": {"w": np.ones(1)}}}}}, []),  # no tool nests that deep
    ],
)
def test_other_things_hold_no_arrays(tree: Any, names: list[str]) -> None:
    assert list(flatten(tree)) == names


def test_modules_come_in_the_order_of_the_file_with_dotted_names() -> None:
    leaf = _module(["weight"])
    root = _module(children={"b": _module(children={"x": leaf}), "a": leaf, "none": None, "text": "no module"})
    assert [name for name, _ in walk_modules(root)] == ["", "b", "b.x", "a"]
    assert [name for name, _ in walk_modules(root, "net")] == ["net", "net.b", "net.b.x", "net.a"]
    assert list(flatten(root)) == ["b.x.weight", "a.weight"]


def test_what_is_no_array_or_not_saved_is_left_out() -> None:
    root = _module(["weight"], ["mean", "anchors"], hidden=["anchors"])
    root.state["_parameters"]["bias"] = None
    assert list(flatten(root)) == ["weight", "mean"]


@pytest.mark.parametrize("state", [{}, {"_modules": None}, {"_modules": [1], "_parameters": 3, "_buffers": "x"}])
def test_a_damaged_module_has_no_arrays(state: dict[str, Any]) -> None:
    root = Record()
    root.state = state
    assert flatten(root) == {}
    assert [name for name, _ in walk_modules(root)] == [""]


def test_rings_end_and_depth_has_a_limit() -> None:
    ring = _module(["w"])
    ring.state["_modules"] = {"self": ring, "child": _module(["v"], children={"back": ring})}
    assert list(flatten(ring)) == ["w", "child.v"]
    deep = leaf = _module(["w"])
    for _ in range(5000):
        deep = _module(children={"d": deep})
    assert len(list(walk_modules(deep))) == 65
    assert leaf not in [record for _, record in walk_modules(deep)]


def test_a_file_that_doubles_at_every_level_is_refused_quickly() -> None:
    level = _module(["w"])
    for _ in range(40):
        level = _module(children={"a": level, "b": level})
    with pytest.raises(SourceError, match=r"(?s)more modules or tensors.*50,000.*state_dict"):
        flatten(level)


def test_a_record_says_of_what_and_gives_attributes() -> None:
    made = Record()
    made.type_name = "models.yolo.Detect"
    made.state["nc"] = 80
    assert repr(made) == "<record of models.yolo.Detect>"
    assert (made.get("nc"), made.get("x"), made.get("x", 2)) == (80, None, 2)
