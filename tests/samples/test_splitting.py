"""Two sides of a source: disjoint, complete, decided by content alone, in about the share that was asked for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.samples.base import Sample, SampleSource
from n6convert.samples.splitting import split_by_hash, without


class Given(SampleSource):
    """Samples as they are."""

    name, synthetic = "given", True

    def __init__(self, samples: list[Sample]) -> None:
        self.samples, self.walks = samples, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        self.walks += 1
        return iter(self.samples)

    def warnings(self) -> list[str]:
        return ["odd"]


def _texts(count: int) -> list[Sample]:
    return [Sample(f"{i}.txt", f"text number {i}") for i in range(count)]


SAMPLES = _texts(400)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_the_share_is_about_what_was_asked_for(share: float) -> None:
    """Four standard deviations of a binomial count."""
    rest, held = split_by_hash(Given(SAMPLES), share)
    assert len(rest) + len(held) == 400
    assert abs(len(held) - 400 * share) <= 4 * (400 * share * (1 - share)) ** 0.5


@pytest.mark.parametrize(("share", "held"), [(0.0, 0), (1.0, 400)])
def test_nothing_and_everything(share: float, held: int) -> None:
    assert len(split_by_hash(Given(SAMPLES), share)[1]) == held


@settings(max_examples=20)
@given(order=st.permutations(range(60)), shares=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_sides_do_not_follow_order_or_names(order: list[int], shares: tuple[float, float]) -> None:
    low, high = sorted(shares)
    renamed = [Sample(f"renamed {n}", SAMPLES[i].data) for n, i in enumerate(order)]
    sides = {
        share: {s.sha256 for s in split_by_hash(Given(samples), share)[1]}
        for share, samples in ((low, SAMPLES[:60]), (high, renamed))
    }
    assert sides[low] <= sides[high], "what is held back of a smaller share is held back of a larger one"
    assert {s.sha256 for s in split_by_hash(Given(renamed), low)[1]} == sides[low]


def test_an_equal_sample_under_two_names_is_on_one_side() -> None:
    twins = [Sample("a", np.ones((2, 2))), Sample("b", np.ones((2, 2)))]
    for share in (0.0, 0.3, 0.6, 1.0):
        assert {len(side) for side in split_by_hash(Given(twins), share)} == {0, 2}


def test_what_a_source_says_of_itself_is_said_of_its_parts() -> None:
    source = Given(SAMPLES[:8])
    for part in (*split_by_hash(source, 0.5), without(source, [])):
        assert part.synthetic and part.warnings() == ["odd"] and part.name.startswith("given")


def test_counting_walks_once() -> None:
    source = Given(SAMPLES[:8])
    part = without(source, [SAMPLES[0].sha256])
    assert (len(part), len(part), source.walks) == (7, 7, 1)


# the hash of a sample -------------------------------------------------------------------------------------------------


def _hash(data: object) -> str:
    return Sample("x", data).sha256  # type: ignore[arg-type]


def test_the_hash_tells_type_shape_and_name_apart() -> None:
    ones = np.ones((2, 3), np.float32)
    different = [
        ones, ones.astype(np.float64), ones.reshape(3, 2), ones.ravel(), np.zeros((2, 3), np.float32), "1", "",
        {"a": ones}, {"b": ones}, {"a": ones, "b": ones},
    ]  # fmt: skip
    assert len({_hash(data) for data in different}) == len(different)


def test_the_hash_does_not_follow_how_the_values_lie_in_memory() -> None:
    values = np.arange(12).reshape(3, 4)
    assert _hash(values) == _hash(np.asfortranarray(values)) == _hash(np.arange(24).reshape(3, 8)[:, ::2] // 2)
    assert _hash({"a": values, "b": values}) == _hash({"b": values, "a": values})
