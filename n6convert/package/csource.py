"""Writing C: arrays, headers, and the description of the model's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.escaping import c_comment, c_string
from n6convert.package.normalisation import PixelMap
from n6convert.package.ports import Port

__all__ = ["GENERATED", "byte_array", "c_float", "guarded", "interface_header", "interface_source"]

GENERATED = "/* Written by n6convert. Generated: changes are lost at the next conversion. */"
_TYPES = """\
typedef struct {
  const char *name;     /* tensor name in the ONNX graph */
  uint32_t size;        /* bytes in the buffer */
  uint32_t rank;
  uint32_t shape[6];    /* of the buffer, outermost first */
  float scale;          /* real = scale * (q - zero_point) */
  int32_t zero_point;
} n6_tensor_t;"""

_LINKED_AS_C = '#ifdef __cplusplus\nextern "C" {{\n#endif\n\n{}\n\n#ifdef __cplusplus\n}}\n#endif'


def guarded(stem: str, body: str) -> str:
    """A header file around a body."""
    guard = f"{stem.upper()}_H"
    head = f"{GENERATED}\n#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>"
    return f"{head}\n\n{_LINKED_AS_C.format(body)}\n\n#endif\n"


def c_float(value: float) -> str:
    """A float literal that reads back as the same float32."""
    text = np.format_float_scientific(np.float32(value), unique=True)
    return f"{text}f"


def byte_array(name: str, values: NDArray[Any], *, comment: str = "") -> str:
    """A constant int8 array definition, 32 numbers a line."""
    flat = np.ascontiguousarray(values, np.int8).reshape(-1)
    words = np.array([str(v) for v in range(-128, 128)], dtype=object)[flat.astype(np.int16) + 128]
    lines = (",".join(words[i : i + 32]) for i in range(0, flat.size, 32))
    note = f"/* {c_comment(comment)} */\n" if comment else ""
    return f"{note}const int8_t {name}[{flat.size}] = {{\n" + ",\n".join(lines) + "\n};\n"


def interface_header(
    stem: str, inputs: Sequence[Port], outputs: Sequence[Port], pixels: PixelMap | None, defines: Sequence[str] = ()
) -> str:
    """The model's header: buffer sizes, grids, pixel arithmetic, and the plugin's own constants."""
    prefix = stem.upper()
    lines = [f"#define {prefix}_INPUTS ({len(inputs)})", f"#define {prefix}_OUTPUTS ({len(outputs)})"]
    for kind, ports in (("INPUT", inputs), ("OUTPUT", outputs)):
        for index, port in enumerate(ports):
            lines += [
                "",
                f"/* {kind.lower()} {index}: {c_comment(port.name)}, {_layout(port)} */",
                *_port_defines(prefix, kind, index, port),
            ]
    if pixels is not None:
        lines += ["", *_pixel_defines(prefix, pixels)]
    if defines:
        lines += ["", *defines]
    guarded_types = f"#ifndef N6_TENSOR_T\n#define N6_TENSOR_T\n{_TYPES}\n#endif"
    tables = "\n".join(f"extern const n6_tensor_t {stem}_{k}[{len(p)}];" for k, p in _tables(inputs, outputs))
    return guarded(stem, "\n".join([*lines, "", guarded_types, "", tables]))


def interface_source(stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """The tables that the header declares."""
    parts = [GENERATED, f'#include "{stem}.h"', ""]
    for kind, ports in _tables(inputs, outputs):
        rows = ",\n".join(f"  {_row(port)}" for port in ports)
        parts.append(f"const n6_tensor_t {stem}_{kind}[{len(ports)}] = {{\n{rows}\n}};\n")
    return "\n".join(parts)


def _tables(inputs: Sequence[Port], outputs: Sequence[Port]) -> list[tuple[str, Sequence[Port]]]:
    return [("inputs", inputs), ("outputs", outputs)]


def _layout(port: Port) -> str:
    return "x".join(map(str, port.board_shape)) + (" (channel last)" if port.channel_last else "")


def _row(port: Port) -> str:
    shape = ", ".join(map(str, port.board_shape))
    return (
        f"{{{c_string(port.name)}, {port.size}u, {len(port.board_shape)}u, {{{shape}}}, "
        f"{c_float(port.scale)}, {port.zero_point}}}"
    )


def _port_defines(prefix: str, kind: str, index: int, port: Port) -> list[str]:
    head = f"#define {prefix}_{kind}_{index}"
    dimensions = [f"{head}_DIM_{axis} ({size})" for axis, size in enumerate(port.board_shape)]
    return [
        f"{head}_SIZE ({port.size})",
        *dimensions,
        f"{head}_SCALE ({c_float(port.scale)})",
        f"{head}_ZERO_POINT ({port.zero_point})",
    ]


def _pixel_defines(prefix: str, pixels: PixelMap) -> list[str]:
    head = "/* q = round(gain * pixel + offset), a channel each"
    shift = "; here exactly q = pixel - 128 */" if pixels.is_shift else " */"
    gain, offset = (", ".join(c_float(v) for v in values) for values in (pixels.gain, pixels.offset))
    return [
        head + shift,
        f"#define {prefix}_CHANNEL_ORDER {c_string(pixels.order)}",
        f"#define {prefix}_PIXEL_IS_SHIFT ({int(pixels.is_shift)})",
        f"#define {prefix}_PIXEL_GAIN {{{gain}}}",
        f"#define {prefix}_PIXEL_OFFSET {{{offset}}}",
    ]
