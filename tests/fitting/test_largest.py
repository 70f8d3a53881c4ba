"""The largest input that stays on the chip: the search, and the sizes a model accepts."""

from __future__ import annotations

from typing import Any

import pytest

from n6convert.errors import UsageError
from n6convert.fitting import largest
from n6convert.fitting.largest import Trial, largest_input
from n6convert.recipe.draft import Draft

ROOM = 2_883_584


def _trial(size: int, bytes_a_pixel: float, offset: int = 0) -> Trial:
    need = int(bytes_a_pixel * size * size) + offset
    return Trial(size, size / 10, 0, 0, need, max(0, need - ROOM), ROOM, need <= ROOM)


def _draft() -> Draft:
    return Draft({"model": "toy"}, name="toy")


@pytest.mark.parametrize(("bytes_a_pixel", "offset"), [(9.75, 0), (1.3, 700_000), (40.0, 0), (0.7, 0), (300.0, 0)])
def test_the_largest_size_that_fits_in_few_trials(
    bytes_a_pixel: float, offset: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(largest, "_accepted", lambda draft, size: size % 64 == 0)
    monkeypatch.setattr(largest, "_tried", lambda draft, size: _trial(size, bytes_a_pixel, offset))
    found, trials = largest_input(_draft)
    sizes = range(64, 2049, 64)
    expected = max((size for size in sizes if _trial(size, bytes_a_pixel, offset).fits), default=None)
    assert (found.size if found else None) == expected
    assert len(trials) <= 8 and len({trial.size for trial in trials}) == len(trials)


def test_none_when_not_even_the_smallest_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "_accepted", lambda draft, size: size in (64, 128))
    monkeypatch.setattr(largest, "_tried", lambda draft, size: _trial(size, 1e6))
    found, trials = largest_input(_draft)
    assert found is None and [trial.size for trial in trials] == [128, 64]


def test_a_model_without_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(largest, "_accepted", lambda draft, size: False)
    with pytest.raises(UsageError, match="no size to vary"):
        largest_input(_draft)


def test_a_real_model_of_a_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every size of a toy classifier fits; the graph is built, simplified, rewritten and placed as INT8."""
    pytest.importorskip("n6convert_yolov8")
    from n6convert.cli.drafts import draft_of

    asked: list[int] = []
    real: Any = largest._tried

    def tried(draft: Any, size: int) -> Trial:
        asked.append(size)
        return real(draft, size)

    monkeypatch.setattr(largest, "_tried", tried)
    monkeypatch.setattr(largest, "_accepted", lambda draft, size: size == 64)
    found, _ = largest_input(lambda: draft_of("yolov8n", ["rewrite.exclude=[]"]))
    assert asked == [64] and found is not None
    assert found.fits and found.external == 0 and 20_000 < found.activations < 80_000
    assert 4 < found.milliseconds < 14
