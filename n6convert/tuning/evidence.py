"""Whether samples that training did not see say that it brought something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.tuning.quantization import Fidelity, closeness_of, exceeds

__all__ = ["Gain", "gain"]

#: draws of the bootstrap, how many are computed at once, and the share that must lie above zero
_DRAWS, _AT_ONCE, _SHARE = 2000, 100, 0.975


@dataclass(frozen=True)
class Gain:
    """By how much one model is closer to float than another, in dB.

    Attributes:
        low, high: 95 % interval of a paired bootstrap over the samples.
    """

    db: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether more than chance speaks for it."""
        return exceeds(self.low, 0.0)

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"db": round(self.db, 3), "low": round(self.low, 3), "high": round(self.high, 3)}


def gain(before: Fidelity, after: Fidelity) -> Gain:
    """What changed between two verdicts on the same samples."""
    count = len(before.bounded)
    if not count:
        return Gain(0.0, 0.0, 0.0)
    draw = np.random.default_rng(0)
    found = [_drawn(before, after, draw.integers(count, size=(_AT_ONCE, count))) for _ in range(_DRAWS // _AT_ONCE)]
    low, high = np.quantile(np.concatenate(found), [1 - _SHARE, _SHARE])
    return Gain(after.closeness_db - before.closeness_db, float(low), float(high))


def _drawn(before: Fidelity, after: Fidelity, picked: NDArray[np.int64]) -> NDArray[np.float64]:
    """Differences when the samples had been these, ``[draw, sample]``."""
    return closeness_of(after.bounded[picked].sum(1)) - closeness_of(before.bounded[picked].sum(1))
