"""Pickles read as data: what is plain comes back, modules become records, everything else is refused by name."""

from __future__ import annotations

import argparse
import collections
import datetime
import fractions
import io
import os
import pathlib
import pickle
import subprocess
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.checkpoints.records import Record
from n6convert.checkpoints.tensors import Storage
from n6convert.checkpoints.unpickler import unpickle
from n6convert.errors import SourceError

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.tuples(inner, inner)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=6,
)


def no_storage(pid: Any) -> Storage:
    raise AssertionError(pid)


def read(data: bytes) -> Any:
    return unpickle(data, no_storage, "w.pt")


@given(PLAIN, st.integers(2, 5))
def test_plain_data_comes_back(value: Any, protocol: int) -> None:
    assert read(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("value", [
    OrderedDict(b=1, a=2), {1, 2}, complex(1, 2), pathlib.PurePosixPath("a/b"), (), [[]], {"a": ({},
    [None])}, 10**40, "ü\udcff",
])  # fmt: skip
def test_what_checkpoints_hold(value: Any, protocol: int) -> None:
    found = None
    if isinstance(value, pathlib.PurePath):
        data = pickle.dumps(pathlib.PosixPath("a/b"), protocol)
        found = read(data)
        assert found == "a/b"
        return
    if isinstance(value, str):
        value = "ü"
    found = read(pickle.dumps(value, protocol))
    assert found == value and type(found) is type(value)


ARRAYS = {
    "floats": np.arange(6, dtype="f4").reshape(2, 3), "big endian": np.arange(4, dtype=">i4"),
    "bools": np.array([True, False]),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)), "empty": np.zeros((0, 3), "i8"),
    "single": np.array(7, "i2"), "complex": np.array([1 + 2j]), "texts": np.array(["ab", "c"]),
    "bytes": np.array([b"ab"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_arrays_of_numpy(name: str, protocol: int) -> None:
    found = read(pickle.dumps(ARRAYS[name], protocol))
    np.testing.assert_array_equal(np.asarray(found), ARRAYS[name])
    assert found.dtype == ARRAYS[name].dtype.newbyteorder("=") and found.shape == ARRAYS[name].shape


@pytest.mark.parametrize("value", [np.float32(1.5), np.int64(-3), np.bool_(True)])
def test_single_numbers_of_numpy_are_pythons(value: Any) -> None:
    found = read(pickle.dumps(value, 2))
    assert found == value.item() and type(found) is type(value.item())


class Evil:
    """Pickles as a call of its choice."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(("function", "arguments", "name"), [
    (os.system, ("true",), "posix.system"), (eval, ("1",), "builtins.eval"), (getattr, ("a", "b"), "builtins.getattr"),
    (subprocess.call, (["true"],), "subprocess.call"), (datetime.date, (2020, 1, 1), "datetime.date"),
    (fractions.Fraction, (1, 2), "fractions.Fraction"), (io.StringIO, (), "StringIO"), (type, ("n", (), {}),
    "builtins.type"),
    (collections.Counter, (), "collections.Counter"), (np.load, ("f",), "numpy.load"), (__import__, ("os",),
    "builtins.__import__"),
])  # fmt: skip
@pytest.mark.parametrize("protocol", [2, 4])
def test_functions_are_refused_by_name(function: Any, arguments: Any, name: str, protocol: int) -> None:
    with pytest.raises(SourceError, match="which is not data") as caught:
        read(pickle.dumps({"w": Evil(function, *arguments)}, protocol))
    assert name.split(".")[-1] in caught.value.problem and caught.value.place == "w.pt"
    assert "safetensors" in str(caught.value.remedy)


def test_a_class_called_with_arguments_is_refused_too() -> None:
    call = b"\x80\x02ctorch.nn.modules.linear\nLinear\nK\x03\x85R."
    with pytest.raises(SourceError, match=r"torch\.nn\.modules\.linear\.Linear"):
        read(call)
    assert isinstance(read(call.replace(b"K\x03\x85R", b")R")), Record)


def test_objects_keep_their_state_and_nothing_else() -> None:
    space = argparse.Namespace(lr=0.1, names=["a"])
    found = read(pickle.dumps({"args": space, "more": types.SimpleNamespace(x=1)}))
    assert isinstance(found["args"], Record) and found["args"].get("lr") == 0.1 and found["args"].get("none", 3) == 3
    assert found["args"].type_name == "argparse.Namespace" and found["more"].state == {"x": 1}


@pytest.mark.parametrize(("data", "words"), [
    (b"", "EOFError"), (b"\x80\x02", "EOFError"), (b".", "IndexError"), (b"\x80\x09.", "unsupported pickle protocol"),
    (b"\x80\x02K\x01", "EOFError"), (b"\xff.", "KeyError"), (b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.", ""),
    (b"\x80\x02Papid\n.", "KeyError"), (b"\x80\x02\x82\x01.", "KeyError"), (b"\x80\x05\x97.", "KeyError"),
    (b"\x80\x02c__builtin__\nbytes\nK\x7f\x85R.", "TypeError"),
    (b"\x80\x02Nb.", "IndexError"), (b"\x80\x02K\x01}b.", "state for an object of type int"),
    (b"\x80\x02cnumpy\ndtype\nX\x01\x00\x00\x00O\x85R.", "not plain numbers"),
    (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00hex\x86R.", "codec"),
])  # fmt: skip
def test_damaged_pickles_are_one_message(data: bytes, words: str) -> None:
    with pytest.raises(SourceError, match="damaged") as caught:
        read(data)
    assert words in str(caught.value.found) and caught.value.place == "w.pt"


@pytest.mark.parametrize(
    "change", [(1, (2, 3), False), (1, (2, -2), False), (1, (1 << 40,), False), (1, ("2", 2), False)]
)
def test_arrays_that_lie_about_their_shape(change: tuple[int, Any, bool]) -> None:
    """The shape in the state of an array of four numbers, exchanged in the pickle's own program."""

    class Lying:
        def __reduce__(self) -> Any:
            function, arguments, state = np.arange(4, dtype="i4").__reduce__()
            return function, arguments, (change[0], change[1], state[2], change[2], state[4])

    with pytest.raises(SourceError, match="damaged"):
        read(pickle.dumps(Lying(), 2))


def test_deep_nesting_is_told() -> None:
    with pytest.raises(SourceError, match=r"damaged|nested too deeply"):
        read(b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"(" * 10 + b"t" * 3)


def test_storages_are_asked_by_their_name() -> None:
    asked: list[Any] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", "key") if value is marker else None

    marker, stream = object(), io.BytesIO()
    Pickler(stream, 2).dump([marker])
    storage = Storage(np.zeros(4, np.uint8), np.dtype("f4"))
    assert unpickle(stream.getvalue(), lambda pid: asked.append(pid) or storage, "w.pt") == [storage]  # type: ignore[func-returns-value]
    assert asked == [("storage", "key")]
