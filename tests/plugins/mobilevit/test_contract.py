"""The contract kit on the smallest published size."""

from __future__ import annotations

from n6convert.testing import check_plugin


def test_contract() -> None:
    check_plugin("mobilevit", options={"imgsz": 64}, convert=False)
