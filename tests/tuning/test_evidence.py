"""Whether held-back samples speak for a tuned model: more than chance must."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from n6convert.quantization.fidelity import Fidelity, closeness_of
from n6convert.tuning.evidence import gain


def fidelity(errors: np.ndarray) -> Fidelity:
    """A network of one output with 10 elements, by each sample's mean error."""
    bounded = np.stack([np.full(len(errors), 10.0), 10 * errors], axis=-1)[:, None]
    return Fidelity(float(closeness_of(bounded.sum(0))), {"y": 0.0}, bounded=bounded)


def test_what_all_samples_say_is_certain() -> None:
    before = np.array([0.01, 0.1, 0.02, 0.2] * 8)
    found = gain(fidelity(before), fidelity(before / 2))
    assert found.certain and found.db == pytest.approx(3.01, abs=0.01) == pytest.approx(found.low, abs=0.02)


def test_one_sample_of_many_is_not() -> None:
    """The mean gains a decibel, by a single sample; most others lose a little."""
    before = np.array([0.01] * 31 + [0.2])
    after = np.array([0.0101] * 31 + [0.1])
    found = gain(fidelity(before), fidelity(after))
    assert found.db > 0.9 and found.low < 0 and not found.certain


def test_nothing_changed_is_not() -> None:
    same = fidelity(np.linspace(0.01, 0.1, 16))
    assert gain(same, same).facts() == {"db": 0.0, "low": 0.0, "high": 0.0} and not gain(same, same).certain
