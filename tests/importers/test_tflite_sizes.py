"""Open sizes of TFLite files that follow from the input: numbers are followed as TensorFlow computes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_writer import LiteWriter

from n6convert.importers.tflite_sizes import settle_sizes
from n6convert.npu.tflite_file import TFLiteFile, read_tables

Options = Mapping[int, tuple[str, Any]]


class Chain:
    """A file that computes sizes of x [1, 6, 4] and reshapes with them."""

    def __init__(self) -> None:
        self.w = LiteWriter()
        self.x = self.w.tensor("x", (1, 6, 4))
        self.size = self.op("SHAPE", [self.x], (3,))
        self.w.inputs = [self.x]

    def numbers(self, values: Any, dtype: type = np.int32) -> int:
        return self.w.constant(f"n{len(self.w.tensors)}", np.array(values, dtype))

    def op(self, kind: str, inputs: Sequence[int], shape: Sequence[int], options: Options | None = None) -> int:
        result = self.w.tensor(f"{kind.lower()}{len(self.w.tensors)}", shape, "int32")
        self.w.op(kind, inputs, [result], options)
        return result

    def reshaped(self, to: int, folder: Path, x: int | None = None) -> TFLiteFile:
        """The file that ends in a Reshape of x to computed sizes, with its sizes settled."""
        y = self.w.tensor("y", (1, 1, 1), signature=(-1, -1, -1))
        self.w.op("RESHAPE", [self.x if x is None else x, to], [y])
        self.w.outputs = [y]
        file = read_tables(self.w.write(folder / "a.tflite"))
        settle_sizes(file)
        return file


def settled(file: TFLiteFile) -> tuple[tuple[int, ...], list[str]]:
    """The shape of y and the operators that are left."""
    return file.tensors["y"].shape, [op.kind for op in file.operators]


def test_a_layer_on_three_axes_as_keras_writes_it(tmp_path: Path) -> None:
    """SHAPE, GATHER of the free axes, their product, PACK: [6, 4]."""
    c = Chain()
    free = c.op("GATHER", [c.size, c.numbers([0, 1])], (2,), {0: ("i32", 0)})
    rows = c.op("REDUCE_PROD", [free, c.numbers([0])], ())
    last = c.op("GATHER", [c.size, c.numbers(2)], (), {0: ("i32", 0)})
    to = c.op("PACK", [rows, last], (2,), {0: ("i32", 2), 1: ("i32", 0)})
    file = c.reshaped(to, tmp_path)
    assert settled(file) == ((6, 4), ["RESHAPE"])
    name = file.operators[0].inputs[1]
    assert file.values[name].tolist() == [6, 4] and file.values[name].dtype == np.int32 and file.tensors[name].constant


@pytest.mark.parametrize(("kind", "wanted"), [("ADD", 10), ("SUB", 2), ("MUL", 24)])
def test_sums_and_products_of_sizes(kind: str, wanted: int, tmp_path: Path) -> None:
    c = Chain()
    sides = [c.op("GATHER", [c.size, c.numbers(i)], (), {0: ("i32", 0)}) for i in (1, 2)]
    one = c.op("EXPAND_DIMS", [c.op(kind, sides, ()), c.numbers(0)], (1,))
    to = c.op("CONCATENATION", [one, c.numbers([-1])], (2,), {0: ("i32", 0)})
    assert settled(c.reshaped(to, tmp_path))[0] == (wanted, 24 // wanted)


@pytest.mark.parametrize(("begin", "end", "step", "masks", "wanted"), [
    (1, 3, 1, {}, (6, 4)), (0, 2, 1, {0: ("i32", 1)}, (1, 6)), (1, 0, 1, {1: ("i32", 1)}, (6, 4)),
    (0, 3, 2, {}, (1, 4)), (2, 0, -1, {}, (4, 6)), (-2, 0, 1, {1: ("i32", 1)}, (6, 4)),
])  # fmt: skip
def test_parts_of_the_sizes(
    begin: int, end: int, step: int, masks: Options, wanted: tuple[int, ...], tmp_path: Path
) -> None:
    c = Chain()
    bounds = [c.numbers([v]) for v in (begin, end, step)]
    part = c.op("STRIDED_SLICE", [c.size, *bounds], (len(wanted),), masks)
    file = c.reshaped(part, tmp_path)
    assert settled(file) == (wanted, ["RESHAPE"])


def test_one_of_the_sizes(tmp_path: Path) -> None:
    c = Chain()
    bounds = [c.numbers([v]) for v in (-1, 0, 1)]
    last = c.op("STRIDED_SLICE", [c.size, *bounds], (), {4: ("i32", 1)})
    to = c.op("PACK", [last, c.numbers(6)], (2,), {0: ("i32", 2), 1: ("i32", 0)})
    assert settled(c.reshaped(to, tmp_path))[0] == (4, 6)


def test_casts_and_views_of_sizes_pass_them_on(tmp_path: Path) -> None:
    c = Chain()
    wide = c.op("RESHAPE", [c.op("CAST", [c.size], (3,)), c.numbers([3, 1])], (3, 1))
    flat = c.op("RESHAPE", [wide, c.numbers([3])], (3,))
    assert settled(c.reshaped(flat, tmp_path)) == ((1, 6, 4), ["RESHAPE"])


@pytest.mark.parametrize(("to", "wanted"), [
    ([-1, 4], (6, 4)), ([2, -1, 2], (2, 6, 2)), ([24], (24,)), ([-1], (24,)), ([1, 24], (1, 24)),
])  # fmt: skip
def test_one_open_size_is_what_is_left(to: list[int], wanted: tuple[int, ...], tmp_path: Path) -> None:
    c = Chain()
    assert settled(c.reshaped(c.numbers(to), tmp_path))[0] == wanted


@pytest.mark.parametrize("to", [[-1, -1], [0, -1]])
def test_sizes_that_do_not_follow_stay_open(to: list[int], tmp_path: Path) -> None:
    c = Chain()
    assert settled(c.reshaped(c.numbers(to), tmp_path))[0] == (-1, -1, -1)


@pytest.mark.parametrize(("signature", "wanted"), [((-1, 6, 4), (6, 4)), ((-1, -1, 4), (-1, -1, -1))])
def test_an_open_batch_is_one_but_two_open_sizes_say_nothing(
    signature: tuple[int, ...], wanted: tuple[int, ...], tmp_path: Path
) -> None:
    """Their product would be 4, as if both were 1."""
    c = Chain()
    opened = c.w.tensor("opened", (1, 6, 4), signature=signature)
    c.w.op("CUSTOM", [c.x], [opened])
    assert settled(c.reshaped(c.numbers([-1, 4]), tmp_path, opened))[0] == wanted


def test_later_layers_get_the_sizes_that_were_found(tmp_path: Path) -> None:
    c = Chain()
    y, z, u, v = (c.w.tensor(n, (1, 1), signature=(-1, -1)) for n in "yzuv")
    c.w.op("RESHAPE", [c.x, c.numbers([-1, 4])], [y])
    c.w.op("RELU", [y], [z])
    c.w.op("FULLY_CONNECTED", [z, c.w.constant("weights", np.ones((5, 4), np.float32))], [u])
    c.w.op("ADD", [u, c.w.constant("b", np.ones((1, 5), np.float32))], [v])
    c.w.outputs = [v]
    file = read_tables(c.w.write(tmp_path / "a.tflite"))
    settle_sizes(file)
    assert [file.tensors[n].shape for n in "yzuv"] == [(6, 4), (6, 4), (6, 5), (6, 5)]


def test_a_size_that_is_an_answer_is_computed(tmp_path: Path) -> None:
    """Outputs of the file keep their operators; so does a file without open sizes."""
    c = Chain()
    y = c.w.tensor("y", (1, 1), signature=(-1, -1))
    c.w.op("RESHAPE", [c.x, c.numbers([-1, 4])], [y])
    c.w.outputs = [y, c.size]
    file = read_tables(c.w.write(tmp_path / "a.tflite"))
    settle_sizes(file)
    assert [op.kind for op in file.operators] == ["SHAPE", "RESHAPE"]
    closed = Chain()
    closed.w.outputs = [closed.op("CAST", [closed.size], (3,))]
    file = read_tables(closed.w.write(tmp_path / "b.tflite"))
    settle_sizes(file)
    assert [op.kind for op in file.operators] == ["SHAPE", "CAST"]
