"""What would make models fit: every sentence is checked by doing what it says."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from n6convert.fitting.advice import advise
from n6convert.fitting.plan import plan
from n6convert.fitting.resident import Resident, with_unique_names
from n6convert.npu.st.mpool import MemoryPool

KB = 1024
CHIP = MemoryPool("fast", 0x1000, 100 * KB, 8, 1.25, True, False)
FLASH = MemoryPool("flash", 0x100000, 1024 * KB, 1, 6, False, True)
OUTSIDE = MemoryPool("outside", 0x90000000, 10_000 * KB, 2, 5, True, True)
POOLS = (CHIP, FLASH)


def _resident(name: str, arena: int, results: int = 0, weights: int = KB, **more: object) -> Resident:
    return Resident(name, "t", {"fast": arena * KB}, results * KB, weights, 1.0, 0.9, 1.1, **more)  # type: ignore[arg-type]


def test_what_fits_needs_no_advice() -> None:
    together = plan([_resident("a", 60, 40), _resident("b", 60)], POOLS)
    assert together.fits and advise(together, POOLS) == []


def test_an_order_that_is_advised_fits() -> None:
    """The results of the first find no place beside the arena of the second; the other way round they do."""
    residents = [_resident("a", 50, 60), _resident("b", 90, 10), _resident("c", 20, 5)]
    together = plan(residents, POOLS)
    assert not together.fits
    text = "\n".join(advise(together, POOLS))
    names = re.search(r"run them in this order: (.*)", text)
    assert names is not None
    by_name = {resident.name: resident for resident in residents}
    assert plan([by_name[name] for name in names.group(1).split(", ")], POOLS).fits


def test_reading_results_at_once_is_advised_where_it_helps() -> None:
    residents = [_resident("a", 90, 60), _resident("b", 90, 60)]
    text = "\n".join(advise(plan(residents, POOLS), POOLS))
    assert "60 KiB of results find no place" in text and "in this order" not in text
    assert "read the results of a before the next model runs" in text
    assert plan([replace(residents[0], results=0), residents[1]], POOLS).fits


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((1, 3, 640, 480), "640 x 480"), ((1, 640, 480, 3), "640 x 480"), ((1, 1, 640, 480), "640 x 480")],
)
def test_a_smaller_image_is_given_in_its_own_layout(shape: tuple[int, ...], sides: str) -> None:
    resident = _resident("big", 100, missing=300 * KB, inputs=(shape,))
    (text,) = [t for t in advise(plan([resident], POOLS), POOLS) if t.startswith("big")]
    assert f"instead of {sides}" in text and "300 KiB too large" in text
    small = [int(word) for word in re.search(r"(\d+) x (\d+) instead", text).groups()]  # type: ignore[union-attr]
    share = 100 / 400
    assert all(side % 32 == 0 for side in small)
    assert small[0] * small[1] <= share * 640 * 480, "no more than the share of the values that has room"


def test_an_input_that_is_no_image_is_said_as_a_share() -> None:
    resident = _resident("text", 100, missing=300 * KB, inputs=((1, 128),))
    (text,) = [t for t in advise(plan([resident], POOLS), POOLS) if t.startswith("text")]
    assert "25 % of the values" in text and " x " not in text


def test_no_image_shrinks_below_what_models_take() -> None:
    resident = _resident("tiny", 1, missing=100_000 * KB, inputs=((1, 3, 64, 64),))
    assert any("32 x 32 instead of 64 x 64" in t for t in advise(plan([resident], POOLS), POOLS))


def test_external_ram_is_said_to_be_slow() -> None:
    resident = replace(_resident("slow", 0), arena={"outside": 50 * KB})
    pools = (*POOLS, OUTSIDE)
    (text,) = advise(plan([resident], pools), pools)
    assert "50 KiB too large for the chip, which external RAM takes" in text


def test_the_smallest_model_that_makes_room_in_flash_is_named() -> None:
    sizes = {"a": 100, "b": 500, "c": 700}
    residents = [_resident(name, 1, weights=size * KB) for name, size in sizes.items()]
    together = plan(residents, POOLS)
    over = together.flash_used - together.flash_size
    assert over > 0
    (text,) = advise(together, POOLS)
    assert f"{over / KB:,.0f} KiB more flash" in text
    name = re.search(r"without (\w+) the rest fits", text)
    assert name is not None
    rest = plan([r for r in residents if r.name != name.group(1)], POOLS)
    assert rest.flash_used <= rest.flash_size
    larger = [n for n, size in sizes.items() if size < sizes[name.group(1)]]
    assert all(plan([r for r in residents if r.name != n], POOLS).flash_used > together.flash_size for n in larger), (
        "no smaller model would do"
    )


def test_no_single_model_may_be_large_enough() -> None:
    residents = [_resident(str(i), 1, weights=600 * KB) for i in range(5)]
    (text,) = advise(plan(residents, POOLS), POOLS)
    assert text.endswith("no single model is that large")


def test_names_that_occur_twice_are_numbered() -> None:
    residents = [_resident(name, 1) for name in ("a", "b", "a", "c", "a")]
    assert [r.name for r in with_unique_names(residents)] == ["a #1", "b", "a #2", "c", "a #3"]


def test_activations_are_all_of_them() -> None:
    resident = replace(_resident("a", 5, missing=7), arena={"fast": 5, "outside": 11})
    assert resident.activations == 23
