"""Sources that know their items: which are taken, skipped, counted and warned about."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import SourceError
from n6convert.samples.base import Sample
from n6convert.samples.listed import FEW, ListedSource, Unreadable, spread

PICTURE = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)


class Numbers(ListedSource[int]):
    """Each item is its own picture; odd multiples of ``bad`` cannot be read."""

    def __init__(self, items: Sequence[int], bad: int | None = None, **options: float) -> None:
        super().__init__("numbers", items, **options)  # type: ignore[arg-type]
        self.bad, self.reads = bad, 0

    def read(self, item: int) -> Sample:
        self.reads += 1
        if self.bad is not None and item % self.bad == 0:
            raise Unreadable(f"{item} is bad")
        return Sample(str(item), np.roll(PICTURE, item, 0) // 2 + item % 100)


@settings(max_examples=80)
@given(count=st.integers(0, 300), limit=st.one_of(st.none(), st.integers(1, 320)))
def test_items_are_spread_evenly(count: int, limit: int | None) -> None:
    found = spread(range(count), limit)
    assert len(found) == (count if limit is None else min(count, limit))
    assert found == sorted(set(found)) and set(found) <= set(range(count))
    gaps = {b - a for a, b in zip(found, found[1:], strict=False)}
    assert not gaps or max(gaps) - min(gaps) <= 1, "no two neighbors are further apart than others by more than one"
    assert not found or found[0] == 0


@pytest.mark.parametrize(("share", "refused"), [(0.2, False), (0.199, True)])
def test_a_share_of_items_may_be_unreadable(share: float, refused: bool) -> None:
    """0, 5, 10, 15 of 20: a fifth."""
    source = Numbers(range(20), bad=5, max_unreadable=share)
    if refused:
        with pytest.raises(SourceError, match="too many samples") as caught:
            list(source)
        assert caught.value.place == "numbers" and "15 is bad" in str(caught.value.found)
        return
    assert [sample.id for sample in source] == [str(i) for i in range(20) if i % 5]
    assert len(source) == 16


def test_what_could_not_be_read_is_tried_once() -> None:
    source = Numbers(range(20), bad=5, max_unreadable=1.0)
    assert list(source) and source.reads == 20
    assert len(list(source)) == 16 and source.reads == 36
    assert any("4 of 20 samples could not be read, e.g. 0: 0 is bad" in text for text in source.warnings())


def test_a_position_is_kept_after_a_limit() -> None:
    source = Numbers(range(0, 100, 10))
    source.keep([1, 3, 5, 7], 2)
    assert source.items == [10, 50]
    source.keep([1], None)
    assert source.items == [50]


@pytest.mark.parametrize(("count", "warned"), [(FEW - 1, True), (FEW, False)])
def test_few_samples_are_warned_about(count: int, warned: bool) -> None:
    source = Numbers(range(count))
    list(source)
    assert bool(source.warnings()) is warned


def _warned(pictures: Sequence[np.ndarray]) -> str:
    class Given(ListedSource[int]):
        def read(self, item: int) -> Sample:
            return Sample(str(item), pictures[item])

    source = Given("given", range(len(pictures)))
    list(source)
    return "\n".join(text for text in source.warnings() if "only" not in text or "differ" in text)


def _spanned(low: int, high: int) -> np.ndarray:
    picture = np.full((4, 4, 3), low, np.uint8)
    picture[0, 0] = (high, low, low)
    return picture


@pytest.mark.parametrize(("high", "low_contrast"), [(100 + 31, True), (100 + 32, False)])
def test_contrast_below_32_levels(high: int, low_contrast: bool) -> None:
    pictures = [np.roll(_spanned(100, high), i, 0) for i in range(4)]
    assert ("very low contrast (values 100 to 131" in _warned(pictures)) is low_contrast


@pytest.mark.parametrize(("high", "dark"), [(1, True), (2, False)])
def test_bytes_that_hold_a_picture_of_0_to_1(high: int, dark: bool) -> None:
    pictures = [np.roll(_spanned(0, high), i, 0) for i in range(4)]
    assert ("nearly black" in _warned(pictures)) is dark


def test_a_kind_is_told_where_more_than_half_of_the_samples_have_it() -> None:
    flat = [np.full((4, 4, 3), v, np.uint8) for v in (10, 20, 30)]
    good = [np.roll(PICTURE, i, 0) for i in range(3)]
    assert "single color" not in _warned(flat + good)
    assert "3 of 5 samples are of a single color" in _warned(flat + good[:2])


def test_equal_contents_under_different_names() -> None:
    assert "only 1 of 2 samples differ" in _warned([PICTURE, PICTURE.copy()])
    assert _warned([PICTURE, PICTURE[::-1].copy()]) == ""


def test_one_equal_pair_of_channels_is_color() -> None:
    """A picture of two equal channels is not gray; one of three is."""
    color, gray = PICTURE.copy(), PICTURE.copy()
    color[..., 1] = color[..., 0]
    gray[..., 1] = gray[..., 2] = gray[..., 0]
    assert _warned([np.roll(color, i, 0) for i in range(3)]) == ""
    assert "3 of 3 samples are gray" in _warned([np.roll(gray, i, 0) for i in range(3)])
