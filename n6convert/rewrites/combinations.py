"""The ways of lowering a transformer side by side: what each combination of rules leaves on the CPU, and its time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import onnx_ir as ir

from n6convert.recipe.rewrite import RewriteConfig
from n6convert.rewrites.catalog import COMBINATIONS
from n6convert.rewrites.select import rewrite

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["Combination", "compare_combinations"]


@dataclass(frozen=True)
class Combination:
    """One combination ([#combinations]): the predicted epochs by kind and milliseconds of the graph as INT8."""

    name: str
    rules: tuple[str, ...]
    hw: int
    hybrid: int
    sw: int
    milliseconds: float
    low: float
    high: float


def compare_combinations(model: ir.Model, target: str | Target) -> list[Combination]:
    """Rewrite a float model by each combination and predict it; the model is left as it is.

    Raises:
        GraphError: the model is damaged or not static.
        RewriteError: a rule changes the numbers.
    """
    return [_compared(name, rules, model, target) for name, rules in COMBINATIONS.items()]


def _compared(name: str, rules: tuple[str, ...], model: ir.Model, target: str | Target) -> Combination:
    from n6convert.npu import estimate

    config = RewriteConfig(rules="none") if not rules else RewriteConfig(combination=name)
    made = rewrite(model, None, config, target=target).model
    found = estimate(made, target, assume_quantized=True)
    epochs, latency = found.placement.epochs, found.costs.latency
    return Combination(
        name, rules, epochs.hw, epochs.hybrid, epochs.sw, latency.milliseconds, latency.low, latency.high
    )
