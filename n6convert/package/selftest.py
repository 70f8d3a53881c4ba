"""``n6_selftest.h``: one real input and the int8 outputs it must give, so that a board can prove itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from n6convert.escaping import c_comment
from n6convert.package.csource import GENERATED, byte_array, guarded
from n6convert.package.ports import Port
from n6convert.package.tolerance import Tolerance

__all__ = ["selftest_header", "selftest_source"]

_CHECK = """\
/* Largest difference in int8 steps between an output buffer and its expectation. */
int n6_selftest_difference(const int8_t *found, const int8_t *expected, uint32_t size);

/* 1 where all outputs (one buffer each, in the order above) are what the host computed but for rounding, else 0.
   Where an exact result lies between two codes, the NPU may give the other one: boards were seen to do so for up to 6 %
   of a layer's elements. The limits are half as much again as that did to these outputs in trials on the host, plus 1:
   N6_SELFTEST_LARGEST for the element that is furthest off, N6_SELFTEST_TOTAL for all differences of an output
   together, both in int8 steps. */
int n6_selftest_passed(const int8_t *const *found);"""
_CHECK_BODY = """\
int n6_selftest_difference(const int8_t *found, const int8_t *expected, uint32_t size)
{
  int worst = 0;
  uint32_t i;
  for (i = 0; i < size; i++) {
    int gap = (int)found[i] - (int)expected[i];
    if (gap < 0) gap = -gap;
    if (gap > worst) worst = gap;
  }
  return worst;
}

static uint32_t total_difference(const int8_t *found, const int8_t *expected, uint32_t size)
{
  uint32_t total = 0;
  uint32_t i;
  for (i = 0; i < size; i++) {
    int gap = (int)found[i] - (int)expected[i];
    total += (uint32_t)(gap < 0 ? -gap : gap);
  }
  return total;
}

int n6_selftest_passed(const int8_t *const *found)
{
"""
_CASE = """\
  if (n6_selftest_difference(found[{i}], n6_selftest_output_{i}, {size}u) > N6_SELFTEST_LARGEST_{i}) return 0;
  if (total_difference(found[{i}], n6_selftest_output_{i}, {size}u) > N6_SELFTEST_TOTAL_{i}) return 0;
"""


def selftest_header(
    stem: str, inputs: Sequence[Port], outputs: Sequence[Port], sample: str, tolerances: Sequence[Tolerance]
) -> str:
    """Declarations for firmware; ``sample`` names the input that was used, and each output has a tolerance."""
    rows = [
        f"extern const int8_t n6_selftest_{kind}_{i}[{p.size}]; /* {c_comment(p.name)} */"
        for kind, ports in (("input", inputs), ("output", outputs))
        for i, p in enumerate(ports)
    ]
    limits = [
        f"#define N6_SELFTEST_{name}_{i} ({limit})"
        for i, t in enumerate(tolerances)
        for name, limit in (("LARGEST", t.largest), ("TOTAL", f"{t.total}u"))
    ]
    lines = [f"/* input: {c_comment(sample)} */", *rows, "", *limits, "", _CHECK]
    return guarded(f"{stem}_n6_selftest", "\n".join(lines))


def selftest_source(
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    feeds: Mapping[str, NDArray[Any]],
    expected: Mapping[str, NDArray[Any]],
) -> str:
    """Definitions: ``feeds`` and ``expected`` are real values by tensor name, as the host computed them."""
    parts = [GENERATED, '#include "n6_selftest.h"', ""]
    parts += [byte_array(f"n6_selftest_input_{i}", p.to_board(feeds[p.name])) for i, p in enumerate(inputs)]
    parts += [byte_array(f"n6_selftest_output_{i}", p.to_board(expected[p.name])) for i, p in enumerate(outputs)]
    cases = "".join(_CASE.format(i=i, size=p.size) for i, p in enumerate(outputs))
    return "\n".join([*parts, f"{_CHECK_BODY}{cases}  return 1;\n}}\n"])
