"""Strided views of storages as numpy's own strides show them; views that leave their storage are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.checkpoints.records import Record, flatten, walk_modules
from n6convert.checkpoints.tensors import DTYPES, Storage, rebuild_tensor, rebuild_tensor_v3
from n6convert.errors import SourceError

NUMBERS = np.arange(24, dtype="<f4")
FLAT = Storage(NUMBERS.view(np.uint8), np.dtype("<f4"))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=4), st.integers(0, 30))
def test_a_view_is_read_where_all_its_elements_are_inside(axes: list[tuple[int, int]], offset: int) -> None:
    """Tried by brute force: the place of every element."""
    size, stride = [n for n, _ in axes], [s for _, s in axes]
    places = [offset + int(np.dot(index, stride)) for index in np.ndindex(*size)]
    if places and max(places) >= 24:
        with pytest.raises(SourceError, match="does not fit its storage"):
            rebuild_tensor(FLAT, offset, size, stride)
        return
    found = rebuild_tensor(FLAT, offset, size, stride)
    assert found.shape == tuple(size) and found.ravel().tolist() == places


@pytest.mark.parametrize(("offset", "size", "stride"), [
    (-1, [2], [1]), (0, [2], [-1]), (0, [-2], [1]), (0, [2, 2], [1]), (0, [1] * 33, [1] * 33), (0, [1 << 30], [0]),
    (23, [2], [1]), (24, [1], [1]), (0, [5, 5], [5, 1]),
])  # fmt: skip
def test_views_of_no_possible_form(offset: int, size: list[int], stride: list[int]) -> None:
    with pytest.raises(SourceError, match="does not fit its storage") as caught:
        rebuild_tensor(FLAT, offset, size, stride)
    assert "storage of 24 elements" in str(caught.value.found)


def test_a_view_cannot_be_written_and_shares_its_bytes() -> None:
    found = rebuild_tensor(FLAT, 4, [2, 3], [6, 2])
    np.testing.assert_array_equal(found, NUMBERS[4:16].reshape(2, 6)[:, ::2])
    assert not found.flags.writeable and np.shares_memory(found, NUMBERS)


@pytest.mark.parametrize("kind", DTYPES)
def test_both_byte_orders_of_every_type(kind: str) -> None:
    dtype = DTYPES[kind].dtype
    values = np.array([0, 1, 1, 0, 1]).astype(dtype) if kind == "bool" else np.array([1, 2, 3, 0, 8]).astype(dtype)
    part = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    swapped = values.view(np.uint8).reshape(-1, part)[:, ::-1].reshape(-1).copy()
    for data, order in ((values.view(np.uint8), "<"), (swapped, ">")):
        found = Storage(data, np.dtype("u1"), order).elements(dtype)
        assert found.dtype == dtype and found.tolist() == values.tolist()
        found = rebuild_tensor_v3(Storage(data, np.dtype("u1"), order), 1, [2], [2], False, None, DTYPES[kind])
        assert found.tolist() == values[1:4:2].tolist()


def test_bytes_that_are_no_whole_element_are_left_out() -> None:
    assert Storage(np.zeros(11, np.uint8), np.dtype("<f4")).elements().shape == (2,)
    assert Storage(np.zeros(3, np.uint8), np.dtype("<f4")).elements().shape == (0,)


def module(parameters: dict[str, object] | None = None, children: object = None, **state: object) -> Record:
    record = Record()
    record.state = {"_parameters": parameters or {}, "_modules": {} if children is None else children, **state}
    return record


def test_arrays_are_named_as_in_a_state_dict() -> None:
    one, two = np.ones(1), np.ones(2)
    leaf = module(
        {"weight": one, "bias": None}, _buffers={"mean": two, "cache": one}, _non_persistent_buffers_set={"cache"}
    )
    root = module({"scale": two}, {"0": leaf, "head": module(children={"fc": leaf}), "none": None})
    names = {"scale", "0.weight", "0.mean", "head.fc.weight", "head.fc.mean"}
    assert flatten(root).keys() == names == flatten({"model": root, "epoch": 3}).keys()
    assert [name for name, _ in walk_modules(root)] == ["", "0", "head", "head.fc"]


def test_the_state_dict_is_found_under_its_usual_names() -> None:
    own = {"a.weight": np.ones(1), "n": 3}
    for tree in (
        own,
        {"state_dict": own},
        {"model": {"state_dict": own}, "optimizer": {}},
        {"net": {"module": {"params": own}}},
    ):
        assert flatten(tree).keys() == {"a.weight"}
    assert flatten({"a": np.ones(1), "model": own}).keys() == {"a"}, "arrays beside win"
    assert flatten({"other": own}) == {} == flatten([own]) == flatten({}) == flatten(None)
    assert flatten({"model": {"model": {"model": {"model": {"model": own}}}}}) == {}, "wrapped deeper than anybody does"


def test_modules_that_hold_themselves_end() -> None:
    root = module({"w": np.ones(1)})
    root.state["_modules"] = {"self": root}
    assert list(flatten(root)) == ["w"]
    odd = module()
    odd.state = {"_modules": [1], "_parameters": 3, "_buffers": None}
    assert flatten(odd) == {} and repr(odd) == "<record of >"
