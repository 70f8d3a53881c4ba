"""Generated C: compiles without a warning and says what Python says."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from n6convert.package.csource import byte_array, c_float, interface_header, interface_source
from n6convert.package.normalisation import PixelMap
from n6convert.package.ports import Port
from n6convert.package.selftest import selftest_header, selftest_source
from n6convert.package.tolerance import Tolerance

PORTS = [Port("image", (1, 3, 8, 8), 1 / 255, -128, True)]
OUTPUTS = [Port("a/b", (1, 2, 4, 4), 0.37, 5, True), Port("c", (1, 7), 1e-9, 0, False)]


class Tensor(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p), ("size", ctypes.c_uint32), ("rank", ctypes.c_uint32), ("shape", ctypes.c_uint32 * 6),
        ("scale", ctypes.c_float), ("zero_point", ctypes.c_int32),
    ]  # fmt: skip


def test_tables_read_back(tmp_path, compile_c):
    pixels = PixelMap("RGB", (1.0, 1.0, 1.0), (-128.0, -128.0, -128.0))
    header = interface_header("n6_m", PORTS, OUTPUTS, pixels, ["#define N6_M_CLASSES (2)"])
    library = compile_c(tmp_path, {"n6_m.h": header, "n6_m.c": interface_source("n6_m", PORTS, OUTPUTS)})
    table = (Tensor * 2).in_dll(library, "n6_m_outputs")
    for row, port in zip(table, OUTPUTS, strict=True):
        assert row.name.decode() == port.name
        assert tuple(row.shape[: row.rank]) == port.board_shape
        assert np.float32(row.scale) == np.float32(port.scale)
        assert (row.size, row.zero_point) == (port.size, port.zero_point)
    assert "PIXEL_IS_SHIFT (1)" in header


def test_selftest_holds_the_bytes_and_counts_differences(tmp_path, compile_c):
    rng = np.random.default_rng(1)
    feeds = {"image": rng.uniform(0, 1, (1, 3, 8, 8))}
    expected = {p.name: rng.normal(0, 20 * p.scale, p.graph_shape) for p in OUTPUTS}
    library = compile_c(tmp_path, {
        "n6_selftest.h": selftest_header("n6_m", PORTS, OUTPUTS, "a picture", [Tolerance(7, 9), Tolerance(1, 3)]),
        "n6_selftest.c": selftest_source(PORTS, OUTPUTS, feeds, expected),
    })  # fmt: skip
    stored = (ctypes.c_int8 * OUTPUTS[0].size).in_dll(library, "n6_selftest_output_0")
    truth = OUTPUTS[0].to_board(expected["a/b"]).reshape(-1)
    assert list(stored) == truth.tolist()
    found = truth.copy()
    found[3] = np.int8(max(-128, int(found[3]) - 7)) if found[3] > -121 else np.int8(int(found[3]) + 7)
    pointer = found.ctypes.data_as(ctypes.POINTER(ctypes.c_int8))
    assert library.n6_selftest_difference(pointer, stored, found.size) == 7
    other = OUTPUTS[1].to_board(expected["c"]).reshape(-1)
    assert passed(library, found, other)
    assert not passed(library, moved(found, 3, found[3] > truth[3], 1), other), "8 steps in one place"
    assert passed(library, moved(found, 0, truth[0] < 0, 2), other)
    assert not passed(library, moved(found, 0, truth[0] < 0, 3), other), "10 steps in all"
    assert passed(library, found, moved(other, 0, other[0] < 0, 1))
    assert not passed(library, found, moved(other, 0, other[0] < 0, 2)), "the last output counts, too"


def moved(codes, place, up, steps):
    result = codes.copy()
    result[place] += steps if up else -steps
    return result


def passed(library, *buffers):
    pointers = (ctypes.POINTER(ctypes.c_int8) * len(buffers))(
        *(b.ctypes.data_as(ctypes.POINTER(ctypes.c_int8)) for b in buffers)
    )
    return bool(library.n6_selftest_passed(pointers))


@pytest.mark.parametrize("value", [0.003921568859368563, 1e-9, 255.0, 1.0, 3.0e38])
def test_float_literals_read_back(value):
    assert np.float32(c_float(value)[:-1]) == np.float32(value)


def test_arrays_keep_every_value():
    values = np.arange(-128, 128, dtype=np.int8)
    text = byte_array("x", values)
    body = text.partition("{")[2].partition("}")[0]
    assert [int(v) for v in body.replace("\n", "").split(",")] == values.tolist()
