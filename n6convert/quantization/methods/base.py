"""What a method is, and what its gain must be worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from n6convert.quantization.grid.zero_points import MAX_LOSS_DB
from n6convert.quantization.methods.candidate import Candidate
from n6convert.quantization.methods.context import MethodContext
from n6convert.recipe.quantization import QuantizationConfig

__all__ = ["EXACT", "TWICE", "WORTH", "Method", "priced", "times_of"]

#: what is computed twice on the NPU must bring that much
TWICE = 1.0
#: dB that exact tensors must bring where a method makes them finer
WORTH = 0.1
#: an equalized model must be the same function to this share of its output's range
EXACT = 1e-3


@dataclass(frozen=True)
class Method:
    """One way of making the INT8 model better.

    Attributes:
        cost: about how many times it runs the model over the samples; the list is sorted by it.
        key: of the recipe, that asks for it (:meth:`QuantizationConfig.off`); None: it belongs to finding ranges.
        attempt: makes a candidate from the best one so far; None when there is nothing to do.
        tolerance_db: by how much held-back samples may say that it is worse and it is kept all the same.
        fits: whether the other choices of the recipe leave anything to do.
        predicts: whether it needs a predictor of time.
        unseen: whether what it brings shows on other samples than those held back, however close these are.
        refines: whether it corrects biases or rounds weights, for the grids that the model has by then.
    """

    name: str
    cost: float
    key: str | None
    attempt: Callable[[MethodContext, Candidate], Candidate | None]
    tolerance_db: float = 0.0
    fits: Callable[[QuantizationConfig], bool] = lambda config: True
    predicts: bool = False
    unseen: bool = False
    refines: bool = False

    def wanted(self, config: QuantizationConfig) -> bool:
        """Whether the recipe asks for it."""
        return (self.key is None or config.asks(self.key)) and self.fits(config)


def priced(context: MethodContext, before: Candidate, after: Candidate) -> Candidate:
    """The second candidate, which must be closer by as much as the balanced policy for zero points asks for its time.

    Args:
        context: holds the predictor; without one nothing is asked for.
        before: without the method.
        after: with it.
    """
    times = times_of(context, before, after)
    slower = max(times["ms"] / times["ms_before"] - 1, 0.0) if times else 0.0
    return replace(after, required_gain_db=MAX_LOSS_DB["balanced"] * slower, notes={**after.notes, **times})


def times_of(context: MethodContext, before: Candidate, after: Candidate) -> dict[str, float]:
    """Predicted milliseconds of two candidates, where there is a predictor.

    Args:
        context: holds the predictor.
        before: without the method.
        after: with it.
    """
    if context.milliseconds is None:
        return {}
    return {
        "ms_before": round(context.milliseconds(before.model), 4),
        "ms": round(context.milliseconds(after.model), 4),
    }
