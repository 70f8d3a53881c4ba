"""Learned rounding: weights may leave the codes that the quantizer chose for the next ones, where their block gains.

As in AdaRound (Nagel et al. 2020) and BRECQ (Li et al. 2021) weights lie between codes while a block learns, so that
gradients are those of a smooth function. They start on their codes, not on the float weights: the quantizer's rounding
errors cancel each other and what earlier layers lost, and a weight nearer to its float value undoes that. No penalty
with a weight of its own makes them decide: those within a growing distance of a code are put there, and the others,
which are still free, make up for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from n6convert.tuning.tensor import Tensor

__all__ = ["Rounding"]

#: shares of a phase: at its beginning no weight has to decide, at its end all have
_FREE, _DONE = 0.2, 0.1


@dataclass(frozen=True)
class Rounding:
    """The codes between which one weight tensor lies.

    Attributes:
        chosen: the quantizer's.
        limit: largest code.
    """

    chosen: Tensor
    limit: float

    def settle(self, leaf: Tensor, share: float) -> None:
        """Keep weights within a step of the chosen codes and round those that are near a code, in place.

        Args:
            leaf: weights in steps.
            share: how much of the phase is done.
        """
        near = 0.5 * min(max((share - _FREE) / (1 - _FREE - _DONE), 0.0), 1.0)
        with torch.no_grad():
            place = (leaf - self.chosen).clamp_(-1, 1).add_(self.chosen).clamp_(-self.limit, self.limit)
            rounded = place.round()
            leaf.copy_(torch.where((place - rounded).abs() <= near, rounded, place))
