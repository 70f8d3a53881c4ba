"""Checkpoints of training runs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

__all__ = ["JUDGED", "Standing"]

#: judgements in one run, at most
JUDGED = 8


@dataclass
class Standing:
    """Where training stands; JSON-ready.

    Attributes:
        step: steps done.
        seconds: time spent.
        best: closeness of the best numbers so far in dB.
        idle: judgements since those.
        judged: how many of the planned judgements were made.
        judgements: how many are planned.
        slower: factor of all rates.
        rollbacks: how often numbers were not finite.
        moved: steps since the descent began anew.
        curve: what was found on the way.
    """

    step: int = 0
    seconds: float = 0.0
    best: float = -math.inf
    idle: int = 0
    judged: int = 0
    judgements: int = JUDGED
    slower: float = 1.0
    rollbacks: int = 0
    moved: int = 0
    curve: list[dict[str, Any]] = field(default_factory=list)
