"""Training an INT8 model against the float model it stands for, without labels (needs ``n6convert[tune]``)."""

from __future__ import annotations

from n6convert.lazy import first_use
from n6convert.recipe.tune import TuneConfig

__all__ = ["Example", "TuneConfig", "TuneResult", "tune"]

#: loaded on first use: reading a recipe must not import torch
__getattr__ = first_use(__name__, {"Example": "samples", "TuneResult": "tuner", "tune": "tuner"})
