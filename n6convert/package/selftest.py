"""``<stem>_selftest.h``: one real input and the outputs it must give, so that a board can prove itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from n6convert.escaping import c_comment
from n6convert.package.csource import GENERATED, c_array, c_float, guarded
from n6convert.package.ports import Port
from n6convert.package.tolerance import Tolerance

__all__ = ["selftest_header", "selftest_source"]

_CHECK = """\
/* Largest difference of an output buffer from what the host computed, in steps of its grid; at most 255. */
int @STEM@_selftest_difference(uint32_t output, const @STEM@_output_t *found);

/* 1 where all outputs (one buffer each, in the order above) are what the host computed but for rounding, else 0.
   Where an exact result lies between two codes, the NPU may give the other one: boards were seen to do so for up to 6 %
   of a layer's elements. The limits are half as much again as that did to these outputs in trials on the host, plus 1:
   @PREFIX@_SELFTEST_LARGEST for the element that is furthest off, @PREFIX@_SELFTEST_TOTAL for all differences of an
   output together, both in steps of the output's grid. */
int @STEM@_selftest_passed(const @STEM@_output_t *const *found);

/* The same for one output. */
int @STEM@_selftest_output_passed(uint32_t output, const @STEM@_output_t *found);"""
_CHECK_BODY = """\
typedef struct {
  const @STEM@_output_t *expected;
  uint32_t elements;
  float step; /* of the output's grid, where the buffer holds floats */
  int largest;
  uint32_t total;
} expectation_t;

static const expectation_t expectations[@OUTPUTS@] = {
@ROWS@
};

static int gap(@STEM@_output_t found, @STEM@_output_t expected, float step)
{
@GAP@
}

int @STEM@_selftest_difference(uint32_t output, const @STEM@_output_t *found)
{
  const expectation_t *e = &expectations[output];
  int worst = 0;
  uint32_t i;
  for (i = 0; i < e->elements; i++) {
    const int steps = gap(found[i], e->expected[i], e->step);
    if (steps > worst) worst = steps;
  }
  return worst;
}

int @STEM@_selftest_output_passed(uint32_t output, const @STEM@_output_t *found)
{
  const expectation_t *e = &expectations[output];
  uint32_t i, total = 0;
  for (i = 0; i < e->elements; i++) total += (uint32_t)gap(found[i], e->expected[i], e->step);
  return @STEM@_selftest_difference(output, found) <= e->largest && total <= e->total;
}

int @STEM@_selftest_passed(const @STEM@_output_t *const *found)
{
  uint32_t output;
  for (output = 0; output < @OUTPUTS@u; output++)
    if (!@STEM@_selftest_output_passed(output, found[output])) return 0;
  return 1;
}
"""
_GAPS = {
    True: """\
  const float steps = (found > expected ? found - expected : expected - found) / step;
  return steps < 255.0f ? (int)(steps + 0.5f) : 255; /* not a number counts as far off */""",
    False: """\
  const int difference = (int)found - (int)expected;
  (void)step;
  return difference < 0 ? -difference : difference;""",
}


def selftest_header(
    stem: str, inputs: Sequence[Port], outputs: Sequence[Port], sample: str, tolerances: Sequence[Tolerance]
) -> str:
    """Declarations for firmware; ``sample`` names the input that was used, and each output has a tolerance.

    Args:
        stem: prefix of the package's symbols and files.
        inputs: of the package.
        outputs: of the package.
        sample: what the input was made from.
        tolerances: one for each output.
    """
    rows = [
        f"extern const {stem}_{kind}_t {stem}_selftest_{kind}_{i}[{p.elements}]; /* {c_comment(p.name)} */"
        for kind, ports in (("input", inputs), ("output", outputs))
        for i, p in enumerate(ports)
    ]
    limits = [
        f"#define {stem.upper()}_SELFTEST_{name}_{i} ({limit})"
        for i, t in enumerate(tolerances)
        for name, limit in (("LARGEST", t.largest), ("TOTAL", f"{t.total}u"))
    ]
    lines = [f"/* input: {c_comment(sample)} */", *rows, "", *limits, "", _named(_CHECK, stem)]
    return guarded(f"{stem}_selftest", "\n".join(lines), include=f"{stem}.h")


def selftest_source(
    stem: str,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    feeds: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
) -> str:
    """Definitions: ``feeds`` and ``expected`` are real values by tensor name, as the host computed them.

    Args:
        stem: prefix of the package's symbols and files.
        inputs: of the package.
        outputs: of the package.
        feeds: real values by input name, in the port's shape.
        expected: real values by output name, in the port's shape.
    """
    parts = [GENERATED, f'#include "{stem}_selftest.h"', ""]
    for kind, ports, values in (("input", inputs, feeds), ("output", outputs, expected)):
        parts += [c_array(f"{stem}_selftest_{kind}_{i}", p.to_board(values[p.name])) for i, p in enumerate(ports)]
    rows = ",\n".join(_expectation(stem, i, port) for i, port in enumerate(outputs))
    body = _CHECK_BODY.replace("@GAP@", _GAPS[outputs[0].limits is None]).replace("@ROWS@", rows)
    return "\n".join([*parts, _named(body.replace("@OUTPUTS@", str(len(outputs))), stem)])


def _expectation(stem: str, index: int, port: Port) -> str:
    limits = ", ".join(f"{stem.upper()}_SELFTEST_{name}_{index}" for name in ("LARGEST", "TOTAL"))
    return f"  {{{stem}_selftest_output_{index}, {port.elements}u, {c_float(port.step)}, {limits}}}"


def _named(text: str, stem: str) -> str:
    return text.replace("@STEM@", stem).replace("@PREFIX@", stem.upper())
