"""Outlier channels: norms and gates that one huge channel spoils.

Where massive activations leave nothing of a norm on an int8 grid, the network gets the other forms before any method is
tried, with whatever effort; elsewhere they are a method like others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.quantization.ceilings import changed_tensors, with_exact_tensors
from n6convert.quantization.fidelity import Fidelity
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.methods.base import WORTH, Method, priced
from n6convert.quantization.methods.candidate import Candidate
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.equalization import equalization
from n6convert.quantization.methods.ranges import finds_ranges
from n6convert.quantization.ranges.carried import still_true
from n6convert.quantization.ranges.find import RangeResult
from n6convert.quantization.reparameterization.gate_input import ONE_PASS, decouple_gate_inputs
from n6convert.quantization.reparameterization.outlier_norm import (
    FewRows,
    rewrite_outlier_norms,
)

__all__ = ["METHOD", "outlier_channels", "spoiled_by_few", "without_outliers"]


def without_outliers(context: MethodContext, prepared: ir.Model) -> Candidate | None:
    """The first INT8 model of a network whose norms are useless on int8 grids; None where they are not.

    Args:
        context: what methods work with.
        prepared: the float model.
    """
    threads, few = context.config.threads, context.probe_samples
    if not METHOD.wanted(context.config):
        return None
    context.few_rows = FewRows(prepared, few, threads)
    rows = context.few_rows.spoiled(context.first(context.enough))
    if rows is None:
        return None
    changed, norms = rewrite_outlier_norms(prepared, [], threads, seen=rows)
    changed, gates = decouple_gate_inputs(changed, few, threads)
    return _even(context, _unjudged(changed, RangeResult({}, {}, {}, {})), {"norms": norms, "gates": gates})


def spoiled_by_few(context: MethodContext, prepared: ir.Model, found: RangeResult) -> Candidate | None:
    """The first INT8 model where all samples together leave nothing of a norm; None elsewhere, and where it is unsure.

    Neither the model by ranges alone nor one by other ranges need be made then.

    Args:
        context: what methods work with.
        prepared: the float model.
        found: its ranges.
    """
    few = context.few_rows
    if context.config.effort != "default" or few is None or not few.spoil_with(found.statistics, found.channels):
        return None
    trial = _in_other_form(context, _unjudged(prepared, found))
    return None if trial is None or trial.provisional else trial


def outlier_channels(context: MethodContext, best: Candidate) -> Candidate | None:
    """Norms and gates that one huge channel spoils get other forms, whose channels are then evened out."""
    trial = _in_other_form(context, best) if not best.even else None
    slower = trial is not None and any(gate["function"] in ONE_PASS for gate in trial.notes["gates"])
    return priced(context, best, trial) if trial is not None and slower else trial


def _in_other_form(context: MethodContext, best: Candidate) -> Candidate | None:
    threads = context.config.threads
    known, few = best.found, context.few_rows
    same = few is not None and few.model is best.prepared
    seen = few.of_all(known.statistics, known.channels) if few is not None and same else None
    prepared, norms = rewrite_outlier_norms(
        best.prepared, context.samples, threads, known.statistics, known.channels, seen
    )
    prepared, gates = decouple_gate_inputs(prepared, context.samples, threads, known.channels)
    if not norms and not gates:
        return None
    touched = changed_tensors(best.prepared, prepared)
    # norms that are too wide for int8 are known to spoil what they make
    if not norms and not context.promises(best, partial(with_exact_tensors, best.model, touched), WORTH):
        return None
    found = still_true(best.found, best.prepared, prepared, context.probe_samples[0])
    return _even(context, replace(best, prepared=prepared, found=found), {"norms": norms, "gates": gates})


def _unjudged(prepared: ir.Model, found: RangeResult) -> Candidate:
    """A float model as what another form starts from, which is closer to float in any case."""
    return Candidate(prepared, found, Plan(), prepared, lambda: Fidelity(-np.inf, {}), [])


def _even(context: MethodContext, start: Candidate, notes: Mapping[str, Any]) -> Candidate | None:
    """The INT8 model of a network in its other form, with even channels, which need no clipping."""
    trial = equalization(context, start, promised=True, whole=True)
    return replace(trial, notes={**notes, **trial.notes}) if trial is not None else None


METHOD = Method("outlier channels", 2, "equalization", outlier_channels, fits=finds_ranges)
