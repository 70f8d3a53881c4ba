"""Values of different size under one grid: at which number of levels it is said, and how gravely."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.linter import Finding, lint

Lint = Callable[..., list[Finding]]


def _joined(step: float, grid: float, op: str = "Sigmoid", tail: str = "y = DequantizeLinear (cq, s, z)") -> str:
    """Something on a grid of its own beside the input, joined under one of step ``step``."""
    return f"""<float s = {{{step}}}, int8 z = {{-128}}, float p = {{{grid}}}> {{
      xq = QuantizeLinear (x, s, z)  xd = DequantizeLinear (xq, s, z)
      a = {op} (xd)  aq = QuantizeLinear (a, p, z)  ad = DequantizeLinear (aq, p, z)
      c = Concat <axis = 1> (xd, ad)  cq = QuantizeLinear (c, s, z)  {tail} }}"""


@pytest.mark.parametrize(
    ("step", "severity"),
    [(1 / 24.5, None), (1 / 23.5, "warning"), (1 / 6.5, "warning"), (1 / 5.5, "error"), (2.5, "error")],
)
def test_levels_that_a_probability_keeps(step: float, severity: str | None, broken: Lint) -> None:
    """A Sigmoid spans 1: 1 / step levels; precision is lost below 24, the meaning below 6."""
    hits = broken("mixed-scales", _joined(step, 0.00392))
    assert [str(hit.severity) for hit in hits] == ([severity] if severity else [])
    for hit in hits:
        assert f"{1 / step:.1f} of 256 levels" in hit.found and hit.tensor == "c"


def test_an_unbounded_part_loses_precision_but_is_no_error(broken: Lint) -> None:
    """Nothing says that all of its interval is used."""
    (hit,) = broken("mixed-scales", _joined(2.5, 0.00392, "Relu"))
    assert str(hit.severity) == "warning"


def test_parts_on_the_same_grid_are_fine(broken: Lint) -> None:
    assert broken("mixed-scales", _joined(0.05, 0.05, "Relu")) == []


@pytest.mark.parametrize(
    ("tail", "advised"),
    [
        ("y = DequantizeLinear (cq, s, z)", True),
        ("d = DequantizeLinear (cq, s, z) y = Transpose <perm = [0,2,3,1]> (d)", True),
        ("d = DequantizeLinear (cq, s, z) y = Exp (d)", False),
    ],
)
def test_parting_is_advised_where_nothing_is_computed_behind(tail: str, advised: bool, broken: Lint) -> None:
    (hit,) = broken("mixed-scales", _joined(2.5, 0.00392, tail=tail))
    assert ("options.outputs=[x,a]" in hit.remedy) is advised


@pytest.mark.parametrize(("second", "found"), [("b = Relu (x)", 1), ("b = Tanh (x)", 0), ("b = Identity (a)", 0)])
def test_a_float_join_of_bounded_and_unbounded(second: str, found: int, broken: Lint) -> None:
    body = f"{{ a = Sigmoid (x) {second} c = Concat <axis = 1> (a, b) y = Identity (c) }}"
    assert len(broken("mixed-scales", body)) == found


def test_a_constant_part_says_nothing(broken: Lint) -> None:
    body = "<float[1,4,8,8] k = {" + ", ".join(["9"] * 256) + "}> { a = Sigmoid (x) y = Concat <axis = 1> (a, k) }"
    assert broken("mixed-scales", body) == []


# from values ---------------------------------------------------------------------------------------------------------

_QDQ = """<ir_version: 8, opset_import: ["" : 17]> g (float[1,4,8,8] x) => (float[1,4,8,8] y)
<float s = {1.0}, int8 z = {0}> { q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z) }"""


def _measured(spans: list[float]) -> list[str]:
    """Four channels that span so many levels."""
    x = np.zeros((1, 4, 8, 8), np.float32)
    for channel, span in enumerate(spans):
        x[0, channel, 0, 0] = span
    found = lint(ir.from_onnx_text(_QDQ), None, [{"x": x}])
    return [f.found for f in found if f.rule == "mixed-scales"]


@pytest.mark.parametrize(
    ("spans", "found"),
    [
        ([100, 100, 100, 100], None), ([100, 100, 100, 23], "1 of 4 channels keep fewer than 24 levels (channel 3: 23"),
        ([100, 100, 100, 24], None), ([100, 100, 3, 23], "2 of 4 channels keep fewer than 24 levels (channel 2: 3"),
        ([64, 3, 64, 64], "1 of 4 channels"), ([63, 3, 63, 63], None), ([100, 3, 40, 100], None),
        ([100, 0, 100, 100], None),
    ],
)  # fmt: skip
def test_channels_that_keep_few_levels_beside_full_ones(spans: list[float], found: str | None) -> None:
    """Two groups far apart, not a broad spread; a channel that never changes is not one of them."""
    hits = _measured(spans)
    assert len(hits) == bool(found) and all(found in hit and "along axis 1" in hit for hit in hits if found)


def test_without_samples_nothing_is_measured() -> None:
    assert [f for f in lint(ir.from_onnx_text(_QDQ)) if f.rule == "mixed-scales"] == []
