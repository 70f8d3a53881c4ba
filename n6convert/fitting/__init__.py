"""Co-residency: several models on one board."""

from __future__ import annotations

from n6convert.fitting.advice import advise
from n6convert.fitting.cascade import Fit, fit
from n6convert.fitting.plan import Together, plan
from n6convert.fitting.resident import Resident, with_unique_names

__all__ = ["Fit", "Resident", "Together", "advise", "fit", "plan", "with_unique_names"]
