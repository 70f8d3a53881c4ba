"""One INT8 model that a method made, and what several methods ask of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.quantization.fidelity import Fidelity, closeness_of
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.ranges.find import RangeResult
from n6convert.recipe.quantization import Bias

__all__ = ["BEHIND", "Candidate", "closeness", "enforced", "is_undecided", "scatter_db"]

#: dB between a trial on some samples and the best model within which all samples are to decide
BEHIND = 0.5


@dataclass(frozen=True)
class Candidate:
    """One INT8 model, with what it was made from.

    Attributes:
        prepared: the float model it stands for.
        measure: says how close it is to float on the held-back samples; called where that is asked for.
        bias: how its biases were corrected.
        rounded: its weights were rounded on samples.
        partly: its layers were refined on fewer samples than there are.
        provisional: its ranges are of fewer samples than there are, so it is never kept.
        even: its channels were evened out.
        reaching: its ranges hold what other samples will reach.
        narrow: layers whose weights have four bits.
        required_gain_db: by how much it must be closer than the one that it replaces, for the NPU time it costs more.
        notes: what the method that made it adds to its record.
    """

    prepared: ir.Model
    found: RangeResult
    plan: Plan
    model: ir.Model
    measure: Callable[[], Fidelity]
    zero_points: list[dict[str, Any]]
    bias: Bias = "off"
    rounded: bool = False
    partly: bool = False
    provisional: bool = False
    even: bool = False
    reaching: bool = False
    required_gain_db: float = 0.0
    narrow: frozenset[str] = frozenset()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fidelity(self) -> Fidelity:
        """How close it is to float on the held-back samples."""
        return self.measure()


def closeness(candidate: Candidate) -> float:
    """How close its outputs are to float on held-back samples, in dB."""
    return candidate.fidelity.closeness_db


def scatter_db(trial: Candidate, best: Candidate) -> float:
    """Standard error over the held-back samples of how much closer one model is than another; 0 for a single one."""
    gains = np.subtract(*(closeness_of(c.fidelity.bounded) for c in (trial, best)))
    return float(gains.std(ddof=1) / math.sqrt(len(gains))) if len(gains) > 1 else 0.0


def is_undecided(trial: Candidate, best: Candidate) -> bool:
    """Whether a trial refined on some samples is so near the best model that all of them are to decide."""
    return trial.partly and abs(closeness(trial) - closeness(best)) < BEHIND


def enforced(candidate: Candidate) -> frozenset[str]:
    """Outputs of the operators that enforce one bound per channel because no grid does."""
    names = (node.outputs[0].name or "" for node in candidate.prepared.graph if node.op_type == "Min")
    return frozenset(names) - candidate.plan.absorbed
