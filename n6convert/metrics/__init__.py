"""How right a model is: one module per task, one way to say how sure the number is."""

from __future__ import annotations

from n6convert.metrics.base import Interval, Metric, Score, bootstrap, bootstrap_drop, mean_score

__all__ = ["Interval", "Metric", "Score", "bootstrap", "bootstrap_drop", "mean_score"]
