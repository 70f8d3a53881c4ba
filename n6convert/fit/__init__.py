"""Co-residency: several models on one board."""

from __future__ import annotations

from n6convert.fit.plan import Resident, Together, plan

__all__ = ["Resident", "Together", "plan"]
