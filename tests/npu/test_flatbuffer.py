"""Tables written by hand, byte by byte as the FlatBuffers format says, and every way to damage them."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import GraphError
from n6convert.npu.flatbuffer import Table, root

TEXT = "größe".encode()


def _file() -> bytes:
    """A root with fields: 0 int32 -7, 1 absent, 2 float 1.5, 3 bool, 4 text, 5 int32 vector, 6 tables of one int8."""
    data = bytearray(struct.pack("<I4s", 0, b"TFL3"))

    def align() -> None:
        data.extend(b"\0" * (-len(data) % 4))

    vtable = len(data)
    data += struct.pack("<HH7H", 4 + 2 * 7, 28, 4, 0, 8, 12, 16, 20, 24)
    align()
    table = len(data)
    data += struct.pack("<iifB3x", table - vtable, -7, 1.5, 1) + bytes(12)

    def point(field: int) -> None:
        align()
        struct.pack_into("<I", data, table + field, len(data) - (table + field))

    point(16)
    data += struct.pack("<I", len(TEXT)) + TEXT + b"\0"
    point(20)
    data += struct.pack("<I3i", 3, 1, -2, 3)
    point(24)
    vector = len(data)
    data += struct.pack("<III", 2, 0, 0)
    for index, value in enumerate((5, -5)):
        inner = len(data)
        data += struct.pack("<HHH2x", 6, 8, 4)
        struct.pack_into("<I", data, vector + 4 + 4 * index, len(data) - (vector + 4 + 4 * index))
        data += struct.pack("<ib3x", len(data) - inner, value)
    struct.pack_into("<I", data, 0, table)
    return bytes(data)


def _root() -> Table:
    return root(_file(), b"TFL3")


def test_scalars() -> None:
    table = _root()
    assert table.integer(0) == -7
    assert table.real(2) == 1.5
    assert table.flag(3) is True


def test_text_is_utf8() -> None:
    assert _root().text(4) == "größe"


def test_vectors() -> None:
    found = _root().array(5, "<i4")
    assert found.tolist() == [1, -2, 3]
    assert [inner.integer(0, "i8") for inner in _root().tables(6)] == [5, -5]


@pytest.mark.parametrize("index", [1, 7, 40])
def test_absent_fields_are_their_defaults(index: int) -> None:
    """Field 1 has no offset in the vtable; 7 and 40 lie behind its end, as in files of an older schema."""
    table = _root()
    assert table.integer(index, default=9) == 9
    assert (table.real(index), table.flag(index), table.text(index), table.table(index)) == (0.0, False, "", None)
    assert table.array(index, "<f4").size == 0 and list(table.tables(index)) == []


@pytest.mark.parametrize("data", [b"", b"TFL3", b"\0\0\0\0TFL2" + bytes(40), bytes(64)])
def test_other_files(data: bytes) -> None:
    with pytest.raises(GraphError, match="not a TFLite file") as caught:
        root(data, b"TFL3")
    assert caught.value.found == repr(data[4:8])


def _walk(table: Table) -> object:
    return (table.integer(0), table.real(2), table.flag(3), table.text(4), table.array(5, "<i4").tolist(),
            [inner.integer(0, "i8") for inner in table.tables(6)])  # fmt: skip


@pytest.mark.parametrize("end", range(8, len(_file())))
def test_a_file_cut_anywhere_is_refused_or_reads_the_same(end: int) -> None:
    try:
        found = _walk(root(_file()[:end], b"TFL3"))
    except GraphError as error:
        assert "truncated or damaged" in str(error)
    else:
        assert found == _walk(_root()), "only the padding behind the last field may be missing"


@settings(max_examples=150)
@given(at=st.integers(8, len(_file()) - 1), value=st.integers(0, 255))
def test_a_changed_byte_ends_in_numbers_or_in_one_error(at: int, value: int) -> None:
    data = bytearray(_file())
    data[at] = value
    try:
        _walk(root(bytes(data), b"TFL3"))
    except GraphError as error:
        assert error.found


def test_a_vector_longer_than_the_file_is_refused_before_it_is_read() -> None:
    data = bytearray(_file())
    at = bytes(data).index(struct.pack("<I3i", 3, 1, -2, 3))
    struct.pack_into("<I", data, at, 2**31)
    with pytest.raises(GraphError, match="truncated") as caught:
        root(bytes(data), b"TFL3").array(5, "<i4")
    assert str(2**31) in str(caught.value.found)


def test_a_vector_may_end_with_the_file() -> None:
    """One field, whose vector of two shorts is the last thing in the file; a byte less is too few."""
    data = struct.pack("<I4sHHHxxiI", 16, b"TFL3", 6, 8, 4, 8, 4) + struct.pack("<I2h", 2, 7, -8)
    assert root(data, b"TFL3").array(0, "<i2").tolist() == [7, -8]
    with pytest.raises(GraphError, match="truncated"):
        root(data[:-1], b"TFL3").array(0, "<i2")


def test_an_array_is_a_view_that_cannot_change_the_file() -> None:
    found = _root().array(5, "<i4")
    assert isinstance(found, np.ndarray) and not found.flags.writeable
