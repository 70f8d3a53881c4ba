"""Tables of TFLite files that were written with the schema's fields, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_writer import TYPES, LiteWriter

from n6convert.errors import GraphError, SourceError
from n6convert.npu.tflite_file import OPERATORS, TFLiteFile, read_tables


def _read(w: LiteWriter, folder: Path, all_values: bool = False) -> TFLiteFile:
    return read_tables(w.write(folder / "a.tflite"), all_values=all_values)


@pytest.mark.parametrize("dtype", sorted(TYPES))
def test_types_and_values(dtype: str, tmp_path: Path) -> None:
    w = LiteWriter()
    value = np.arange(6).reshape(2, 3).astype(dtype)
    w.constant("c", value)
    file = _read(w, tmp_path, all_values=True)
    assert file.tensors["c"].dtype == dtype and file.tensors["c"].constant
    assert file.values["c"].dtype == value.dtype and np.array_equal(file.values["c"], value)


@pytest.mark.parametrize(("size", "kept"), [(4096, True), (4097, False)])
def test_small_constants_are_kept_and_all_where_asked_for(size: int, kept: bool, tmp_path: Path) -> None:
    w = LiteWriter()
    w.constant("c", np.zeros(size, np.int8))
    assert ("c" in _read(w, tmp_path).values) is kept
    assert "c" in _read(w, tmp_path, all_values=True).values
    half = LiteWriter()
    half.constant("h", np.zeros(3, np.float16))
    assert "h" not in _read(half, tmp_path).values and "h" in _read(half, tmp_path, all_values=True).values


def test_a_buffer_of_another_length_is_no_value(tmp_path: Path) -> None:
    w = LiteWriter()
    w.tensor("c", (3,), "float32", data=b"\0" * 11)
    file = _read(w, tmp_path)
    assert file.tensors["c"].constant and "c" not in file.values


def test_grids(tmp_path: Path) -> None:
    w = LiteWriter()
    w.tensor("plain", (1, 2))
    w.tensor("one", (1, 2), "int8", scales=[0.5], zeros=[-3])
    w.tensor("many", (3, 2), "int8", scales=[0.5, 0.25, 0.125], axis=0)
    w.tensor("uneven", (3, 2), "int8", scales=[0.5, 0.25, 0.125], zeros=[7], axis=1)
    file = _read(w, tmp_path)
    assert file.tensors["plain"].scale is None and "plain" not in file.grids
    one, many = file.tensors["one"], file.tensors["many"]
    assert (one.scale, one.zero_point, one.per_channel) == (0.5, -3, False)
    assert (many.scale, many.zero_point, many.per_channel) == (0.5, 0, True)
    assert file.grids["many"].scales.tolist() == [0.5, 0.25, 0.125] and file.grids["many"].axis == 0
    assert file.grids["uneven"].axis == 1 and file.grids["uneven"].zero_points.tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("shape", "signature", "read"),
    [((1, 8), (-1, 8), (1, 8)), ((1, 1), (1, -1), (1, -1)), ((1, 1), (-1, -1), (-1, -1)), ((1, 8), (1,), (1, 8))],
)
def test_open_sizes(shape: tuple[int, ...], signature: tuple[int, ...], read: tuple[int, ...], tmp_path: Path) -> None:
    """The shape is that of a converter's trial run; the signature says what is open. An open batch is its trial's."""
    w = LiteWriter()
    w.tensor("x", shape, signature=signature)
    assert _read(w, tmp_path).tensors["x"].shape == read


def test_names_that_repeat_or_are_missing_get_numbers(tmp_path: Path) -> None:
    w = LiteWriter()
    ids = [w.tensor(name, (1,)) for name in ("a", "", "a", "b", "a")]
    w.op("ADD", ids[:2], [ids[4]])
    w.inputs, w.outputs = ids[:2], ids[4:]
    file = _read(w, tmp_path)
    assert list(file.tensors) == ["a", "#1", "a#2", "b", "a#4"]
    assert (file.inputs, file.outputs) == (("a", "#1"), ("a#4",))
    assert (file.operators[0].inputs, file.operators[0].outputs) == (("a", "#1"), ("a#4",))


@pytest.mark.parametrize("code", sorted(OPERATORS))
def test_kinds_by_number(code: int, tmp_path: Path) -> None:
    """From 127 on the old field of one byte does not hold the number."""
    w = LiteWriter()
    x, y = w.tensor("x", (1,)), w.tensor("y", (1,))
    w.op(OPERATORS[code], [x], [y])
    kind = _read(w, tmp_path).operators[0].kind
    assert kind == OPERATORS[code]


def test_custom_operators_have_their_own_name_and_absent_inputs_are_empty(tmp_path: Path) -> None:
    w = LiteWriter()
    x, y = w.tensor("x", (1,)), w.tensor("y", (1,))
    w.op("ethos-u", [x, -1], [y])
    (op,) = _read(w, tmp_path).operators
    assert (op.kind, op.inputs) == ("ethos-u", ("x", ""))


def test_options_and_their_defaults(tmp_path: Path) -> None:
    w = LiteWriter()
    x, y = w.tensor("x", (1,)), w.tensor("y", (1,))
    w.op("CONV_2D", [x], [y], {0: ("i8", 1), 1: ("i32", 3), 4: ("f32", 0.25), 6: ("bool", True)})
    (op,) = _read(w, tmp_path).operators
    assert (op.option(0, "i8"), op.option(1), op.option(2, default=9), op.real(4), op.real(5)) == (1, 3, 9, 0.25, 0.0)
    assert op.options is not None and op.options.flag(6) and not op.options.flag(7)


def test_sparse_tensors_are_listed(tmp_path: Path) -> None:
    w = LiteWriter()
    w.tensor("dense", (1,))
    w.tensor("holes", (1,), sparse=True)
    assert _read(w, tmp_path).sparse == ["holes"]


def test_indices_outside_of_their_table_are_damage(tmp_path: Path) -> None:
    w = LiteWriter()
    x = w.tensor("x", (1,))
    w.op("ADD", [x], [9])
    with pytest.raises(GraphError, match="damaged") as caught:
        _read(w, tmp_path)
    assert caught.value.place == tmp_path / "a.tflite"


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_tables(tmp_path / "absent.tflite")
    (tmp_path / "a.tflite").write_bytes(b"\x1c\0\0\0TFL9" + bytes(60))
    with pytest.raises(GraphError, match="not a TFLite file"):
        read_tables(tmp_path / "a.tflite")
