"""``n6_selftest.h``: one real input and the int8 outputs it must give, so that a board can prove itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from n6convert.escaping import c_comment
from n6convert.package.csource import GENERATED, byte_array, guarded
from n6convert.package.ports import Port

__all__ = ["selftest_header", "selftest_source"]

_CHECK = """\
/* Largest difference in int8 steps between an output buffer and its expectation. A board may differ from the host
   by one step on a few elements (it rounds differently); more than that is a fault. */
int n6_selftest_difference(const int8_t *found, const int8_t *expected, uint32_t size);"""
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
"""


def selftest_header(stem: str, inputs: Sequence[Port], outputs: Sequence[Port], sample: str) -> str:
    """Declarations for firmware; ``sample`` names the input that was used."""
    rows = [
        f"extern const int8_t n6_selftest_{kind}_{i}[{p.size}]; /* {c_comment(p.name)} */"
        for kind, ports in (("input", inputs), ("output", outputs))
        for i, p in enumerate(ports)
    ]
    return guarded(f"{stem}_n6_selftest", "\n".join([f"/* input: {c_comment(sample)} */", *rows, "", _CHECK]))


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
    return "\n".join([*parts, _CHECK_BODY])
