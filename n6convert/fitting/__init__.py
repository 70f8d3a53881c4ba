"""Co-residency: several models on one board."""

from __future__ import annotations

from n6convert.fitting.advice import advise
from n6convert.fitting.cascade import Fit, fit
from n6convert.fitting.plan import Together, plan
from n6convert.fitting.resident import Resident, told_apart

__all__ = ["Fit", "Resident", "Together", "advise", "fit", "plan", "told_apart"]
