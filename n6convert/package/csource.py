"""Writing C: arrays, headers, and the description of the model's interface."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.escaping import c_comment, c_string
from n6convert.package.normalization import PixelMap
from n6convert.package.ports import Port

__all__ = ["C_TYPES", "GENERATED", "c_array", "c_float", "guarded", "interface_header", "interface_source"]

C_TYPES = {"int8": "int8_t", "uint8": "uint8_t", "float32": "float"}
"""C's name of a buffer's element type."""

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


def guarded(stem: str, body: str, *, include: str = "") -> str:
    """A header file around a body; ``include`` names the package's header that it builds on, if any.

    Args:
        stem: of the file; its guard is made of it.
        body: declarations.
        include: header that the body needs; empty: `stdint.h`.
    """
    guard = f"{stem.upper()}_H"
    needs = f'#include "{include}"' if include else "#include <stdint.h>"
    head = f"{GENERATED}\n#ifndef {guard}\n#define {guard}\n\n{needs}"
    return f"{head}\n\n{_LINKED_AS_C.format(body)}\n\n#endif\n"


def c_float(value: float) -> str:
    """A float literal that reads back as the same float32."""
    text = np.format_float_scientific(np.float32(value), unique=True)
    return f"{text}f"


def c_array(name: str, values: NDArray[Any], *, comment: str = "") -> str:
    """A constant array definition of int8, uint8 or float32 values, up to 32 per line.

    Args:
        name: C symbol.
        values: any shape, written flat; int8, uint8 or float32.
        comment: a line above; empty: none.
    """
    flat = np.ascontiguousarray(values).reshape(-1)
    words = [c_float(v) for v in flat] if flat.dtype.kind == "f" else list(map(str, flat.tolist()))
    lines = (",".join(words[i : i + 32]) for i in range(0, flat.size, 32))
    note = f"/* {c_comment(comment)} */\n" if comment else ""
    return f"{note}const {C_TYPES[flat.dtype.name]} {name}[{flat.size}] = {{\n" + ",\n".join(lines) + "\n};\n"


def interface_header(
    stem: str, inputs: Sequence[Port], outputs: Sequence[Port], pixels: PixelMap | None, defines: Sequence[str] = ()
) -> str:
    """The model's header: buffer sizes, grids, pixel arithmetic, and the plugin's own constants.

    Args:
        stem: prefix of the package's symbols and files.
        inputs: of the package.
        outputs: of the package.
        pixels: how pixels become input codes; None: the input is no image.
        defines: lines of the plugin.
    """
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
    lines += ["", *_element_types(stem, inputs, outputs)]
    if defines:
        lines += ["", *defines]
    guarded_types = f"#ifndef N6_TENSOR_T\n#define N6_TENSOR_T\n{_TYPES}\n#endif"
    tables = "\n".join(f"extern const n6_tensor_t {stem}_{k}[{len(p)}];" for k, p in _tables(inputs, outputs))
    return guarded(stem, "\n".join([*lines, "", guarded_types, "", tables]))


def interface_source(stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    """The tables that the header declares.

    Args:
        stem: prefix of the package's symbols and files.
        inputs: of the package.
        outputs: of the package.
    """
    parts = [GENERATED, f'#include "{stem}.h"', ""]
    for kind, ports in _tables(inputs, outputs):
        rows = ",\n".join(f"  {_row(port)}" for port in ports)
        parts.append(f"const n6_tensor_t {stem}_{kind}[{len(ports)}] = {{\n{rows}\n}};\n")
    return "\n".join(parts)


def _element_types(stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> list[str]:
    """Types for code that reads and writes the buffers, whatever the package was compiled with."""
    lines = ["/* element of every input buffer and of every output buffer */"]
    for kind, ports in (("input", inputs), ("output", outputs)):
        if ports:
            head = f"{stem.upper()}_{kind.upper()}"
            lines += [f"typedef {C_TYPES[ports[0].dtype]} {stem}_{kind}_t;"]
            lines += [f"#define {head}_IS_FLOAT ({int(ports[0].limits is None)})"]
            lowest, highest = ports[0].limits or (None, None)
            lines += (
                [] if lowest is None else [f"#define {head}_LOWEST ({lowest})", f"#define {head}_HIGHEST ({highest})"]
            )
    return lines


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
    head = "/* input = gain * pixel + offset, per channel, rounded and saturated where the input is no float"
    exact = (
        "; here exactly q = pixel" if pixels.is_copy else "; here exactly q = pixel - 128" if pixels.is_shift else ""
    )
    gain, offset = (", ".join(c_float(v) for v in values) for values in (pixels.gain, pixels.offset))
    return [
        f"{head}{exact} */",
        f"#define {prefix}_CHANNEL_ORDER {c_string(pixels.order)}",
        f"#define {prefix}_PIXEL_IS_COPY ({int(pixels.is_copy)})",
        f"#define {prefix}_PIXEL_IS_SHIFT ({int(pixels.is_shift)})",
        f"#define {prefix}_PIXEL_GAIN {{{gain}}}",
        f"#define {prefix}_PIXEL_OFFSET {{{offset}}}",
    ]
