from __future__ import annotations

import pytest

from .graphs import neck
from .helpers import NEW, OLD, apply, ops, reasons, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("rule", ["concat-equal-chunks", "concat-conv-split"])
def test_unequal_parts_stay_on_the_npu(rule: str, target: str) -> None:
    model = neck([16, 32, 8])
    assert software(model, target)["Concat"] == 1
    assert not software(apply(model, rule, target=target).model, target)


def test_equal_parts_are_left_alone() -> None:
    assert not apply(neck([16, 16]), "concat-equal-chunks", "concat-conv-split").applied


def test_too_many_pieces_are_refused_and_summed_instead() -> None:
    result = apply(neck([64, 1]), "concat-equal-chunks", "concat-conv-split")
    assert "65 equal pieces" in reasons(result, "concat-equal-chunks")
    assert ops(result.model)["Conv"] == 4
