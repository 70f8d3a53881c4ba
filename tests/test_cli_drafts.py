"""Options that become values of the recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.cli.drafts import draft_of, image_size, parse_size
from n6convert.errors import UsageError
from n6convert.fitting import largest
from n6convert.recipe.checking import finish


def test_a_size_is_a_number_or_the_largest_that_stays_on_the_chip(monkeypatch: pytest.MonkeyPatch) -> None:
    assert image_size(None, "m", None, None) is None
    assert image_size("256", "m", None, None) == 256
    found = largest.Trial(320, 10.0, 9.0, 11.0, 1, 0, 2, True)
    monkeypatch.setattr(largest, "largest_input", lambda draft: (found, [found]))
    assert image_size("auto", "m", None, None) == 320
    monkeypatch.setattr(largest, "largest_input", lambda draft: (None, []))
    with pytest.raises(UsageError, match="no size of this model"):
        image_size("auto", "m", None, None)
    with pytest.raises(UsageError, match="no size"):
        image_size("big", "m", None, None)


def test_settings_win_over_options(toy: Path) -> None:
    draft = draft_of("toy", ["calibration.samples=7"], samples=9, target="stm32n6570-dk@2.1")
    recipe = finish(draft)
    assert (recipe.calibration.samples, recipe.target) == (7, "stm32n6570-dk@2.1")


@pytest.mark.parametrize(("text", "size"), [
    ("1", 1), ("900", 900), ("2MiB", 2 << 20), ("0.5 KiB", 512), (" 1.5MiB ", 3 << 19), ("7B", 7), ("1.9", 1),
    ("9007199254740993", 9007199254740993), ("0.1KiB", 102),
])  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0.5", "-1", "2MB", "2mib", "MiB", "1e3", "1.", ".5KiB", "1 2", "nan", "9" * 400]
)
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="this is no size") as caught:
        parse_size(text)
    assert caught.value.found == text
