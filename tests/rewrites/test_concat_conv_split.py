from __future__ import annotations

from .graphs import neck
from .helpers import apply, reasons


def test_another_reader_forbids_the_sum() -> None:
    result = apply(neck([16, 32], other_reader=True), "concat-conv-split")
    assert "needed by Relu" in reasons(result, "concat-conv-split")
