"""The time that a report says it was made."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from n6convert.pipeline.reporting import now


@pytest.mark.parametrize(
    ("epoch", "text"),
    [("0", "1970-01-01 00:00 UTC"), ("1700000000", "2023-11-14 22:13 UTC"), ("86399", "1970-01-01 23:59 UTC")],
)
def test_builds_that_repeat_give_the_time(epoch: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)
    assert now() == text


@pytest.mark.parametrize("given", ["", "-1", "soon", "1.5"])
def test_otherwise_it_is_now(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", given)
    before, said = datetime.now(UTC), now()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", said)
    made = datetime.strptime(said, "%Y-%m-%d %H:%M UTC").replace(tzinfo=UTC)
    assert abs((made - before).total_seconds()) < 120
