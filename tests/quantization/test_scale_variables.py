"""Labels that stand for one factor: joined as arrays they are what one join after the other makes of them."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.quantization.equalization.scale_variables import ScaleVariables


def joined_one_by_one(count: int, pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Signed roots by going through the pairs again and again."""
    root = {label: label for label in range(count + 1)}

    def of(label: int) -> int:
        return root[label] if label >= 0 else -root[-label]

    for _ in range(count + 1):
        for a, b in pairs:
            low, high = sorted((of(a), of(b)), key=abs)
            if low == high:
                continue
            new = 0 if low == -high else low * (1 if high > 0 else -1)
            gone = abs(high)
            root = {k: (new if v > 0 else -new) if abs(v) == gone else v for k, v in root.items()}
    return root


@pytest.mark.parametrize("seed", range(40))
def test_arrays_of_pairs_are_joined_as_single_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(3, 30))
    labels, pairs = ScaleVariables(), []
    labels.new(count)
    for _ in range(int(rng.integers(1, 6))):
        size = int(rng.integers(1, 12))
        a = rng.integers(-count, count + 1, size)
        b = rng.integers(-count, count + 1, size if rng.random() < 0.6 else 1)
        if rng.random() < 0.7:
            a, b = np.abs(a), np.abs(b)
        labels.unify(a, b)
        pairs += [(int(x), int(y)) for x, y in zip(a, np.broadcast_to(b, a.shape), strict=True)]
    expected = joined_one_by_one(count, pairs)
    np.testing.assert_array_equal(labels.find(np.arange(count + 1)), [expected[i] for i in range(count + 1)])
