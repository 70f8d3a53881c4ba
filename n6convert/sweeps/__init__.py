"""Sweeps: one model over a grid of choices, with the Pareto front drawn."""

from __future__ import annotations

from n6convert.sweeps.grid import parse_axis
from n6convert.sweeps.results import PointResult, SweepResults, pareto
from n6convert.sweeps.run import sweep

__all__ = ["PointResult", "SweepResults", "pareto", "parse_axis", "sweep"]
