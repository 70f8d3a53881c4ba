"""The section of the report on training."""

from __future__ import annotations

from n6convert.results.section import Count, Number, Section

__all__ = ["ExactWeights", "TunedFigures", "TunedGain", "TunedStep", "Tuning"]


class TunedStep(Section):
    """Closeness of the outputs to float after some steps of training."""

    step: Count
    closeness_db: Number


class TunedFigures(Section):
    """The network's distance from float, before or after training."""

    closeness_db: Number
    sqnr_db: Number


class TunedGain(Section):
    """By how much training brought the outputs closer to float, and the 95 % interval over the held-back samples."""

    db: Number
    low: Number
    high: Number


class ExactWeights(Section):
    """Closeness to float as quantized, and if no weight were rounded: what is left then is the activations' doing."""

    rounded_db: Number
    exact_db: Number


class Tuning(Section):
    """What training brought; empty where nothing was trained."""

    kept: bool = False
    before: TunedFigures | None = None
    after: TunedFigures | None = None
    gain: TunedGain | None = None
    exact_weights: ExactWeights | None = None
    steps: Count = 0
    seconds: Number = 0.0
    curve: list[TunedStep] = []
