"""Where tensors inside are held against float, and which of them training changes."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize
from n6convert.tuning.blocks import block_ends, reached
from n6convert.tuning.parameters import Parameters

from .nets import deep, smooth


@pytest.fixture(scope="module")
def residual() -> QuantizationResult:
    """Three residual blocks."""
    plain = QuantizationConfig(
        ranges="minmax", equalization=False, bias_correction="off", rounding="nearest", merge_convolutions=False,
        threads=1,
    )  # fmt: skip
    return quantize(deep(), lambda: smooth(4), plain)


def test_blocks_end_where_paths_join(residual: QuantizationResult) -> None:
    assert residual.prepared is not None
    ends = block_ends(residual.model, residual.prepared)
    assert {"x1", "x2", "x3", "y"} <= set(ends) and not {"g", "f"} & set(ends)


def test_a_constant_reaches_what_lies_behind_it(residual: QuantizationResult) -> None:
    weight = next(n for n in residual.model.graph if n.inputs[0].name == "w1_quantized").outputs[0]
    found = reached(residual.model, {weight.name or ""})
    assert {"c1", "x2", "c2", "x3", "y"} <= found and not {"x0", "c0", "x1"} & found
    assert reached(residual.model, ()) == set()


@pytest.mark.parametrize(("kinds", "first"), [(("weight",), "x0"), (("scale",), "x0"), (("narrow",), None)])
def test_kinds_of_numbers_reach_what_they_change(
    residual: QuantizationResult, kinds: tuple[str, ...], first: str | None
) -> None:
    """The network has no weights of four bits."""
    assert residual.prepared is not None
    found = reached(residual.model, Parameters(residual.model, residual.prepared).changed_by(kinds))
    assert first in found if first else not found
