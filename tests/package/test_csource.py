"""Generated C: compiles without a warning and says what Python says."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from n6convert.package.csource import c_array, c_float, interface_header, interface_source
from n6convert.package.normalization import PixelMap
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


C_ELEMENTS = {"int8": ctypes.c_int8, "uint8": ctypes.c_uint8, "float32": ctypes.c_float}


@pytest.mark.parametrize("dtype", C_ELEMENTS)
def test_selftest_holds_the_buffers_and_counts_differences(dtype, tmp_path, compile_c):
    rng = np.random.default_rng(1)
    inputs, outputs = ([port.compiled_as(dtype) for port in ports] for ports in (PORTS, OUTPUTS))
    feeds = {"image": rng.uniform(0, 1, (1, 3, 8, 8))}
    codes = {p.name: rng.integers(-100, 100, p.board_shape).astype(np.int8) for p in OUTPUTS}
    expected = {p.name: p.from_board(codes[p.name]) for p in OUTPUTS}
    library = compile_c(tmp_path, {
        "n6_m.h": interface_header("n6_m", inputs, outputs, None), "n6_m.c": interface_source("n6_m", inputs, outputs),
        "n6_m_selftest.h": selftest_header("n6_m", inputs, outputs, "a picture", [Tolerance(7, 9), Tolerance(1, 3)]),
        "n6_m_selftest.c": selftest_source("n6_m", inputs, outputs, feeds, expected),
    })  # fmt: skip
    stored = (C_ELEMENTS[dtype] * inputs[0].elements).in_dll(library, "n6_m_selftest_input_0")
    np.testing.assert_array_equal(np.array(stored), inputs[0].to_board(feeds["image"]).reshape(-1))

    def buffers(*moves):
        """Buffers of both outputs with codes moved: (output, element, steps)."""
        moved = {name: values.copy().reshape(-1) for name, values in codes.items()}
        for output, element, steps in moves:
            moved[OUTPUTS[output].name][element] += steps
        found = [p.to_board(plain.from_board(moved[p.name])) for p, plain in zip(outputs, OUTPUTS, strict=True)]
        return found, (ctypes.c_void_p * len(found))(*[b.ctypes.data for b in found])

    found, pointers = buffers((0, 3, -7))
    assert library.n6_m_selftest_difference(0, ctypes.c_void_p(found[0].ctypes.data)) == 7
    assert library.n6_m_selftest_difference(1, ctypes.c_void_p(found[1].ctypes.data)) == 0
    assert library.n6_m_selftest_passed(pointers)
    assert library.n6_m_selftest_passed(buffers((0, 3, -7), (0, 0, 2))[1])
    assert not library.n6_m_selftest_passed(buffers((0, 3, -8))[1]), "8 steps in one place"
    assert not library.n6_m_selftest_passed(buffers((0, 3, -7), (0, 0, 3))[1]), "10 steps in all"
    assert library.n6_m_selftest_passed(buffers((0, 3, -7), (1, 0, 1))[1])
    assert not library.n6_m_selftest_passed(buffers((0, 3, -7), (1, 0, 2))[1]), "the last output counts, too"
    if dtype == "float32":
        found[1].reshape(-1)[0] = np.nan
        assert not library.n6_m_selftest_passed(pointers)


@pytest.mark.parametrize("value", [0.003921568859368563, 1e-9, 255.0, 1.0, 3.0e38])
def test_float_literals_read_back(value):
    assert np.float32(c_float(value)[:-1]) == np.float32(value)


@pytest.mark.parametrize("values", [np.arange(-128, 128, dtype=np.int8), np.arange(256, dtype=np.uint8)])
def test_arrays_keep_every_value(values):
    body = c_array("x", values).partition("{")[2].partition("}")[0]
    assert [int(v) for v in body.replace("\n", "").split(",")] == values.tolist()
