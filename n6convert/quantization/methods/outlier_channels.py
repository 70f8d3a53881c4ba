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
from n6convert.quantization.methods.base import (
    WORTH,
    Candidate,
    Method,
    MethodContext,
    finds_ranges,
)
from n6convert.quantization.methods.equalization import equalization
from n6convert.quantization.ranges.calibrate import calibrate
from n6convert.quantization.ranges.carried import still_true
from n6convert.quantization.ranges.channel_extents import Extent, Extents
from n6convert.quantization.ranges.find import RangeResult
from n6convert.quantization.reparameterization.gate_input import decouple_gate_inputs, gate_axes
from n6convert.quantization.reparameterization.norm_rows import between_norms, norm_axes
from n6convert.quantization.reparameterization.outlier_norm import rewrite_outlier_norms, spoils_norms

__all__ = ["METHOD", "outlier_channels", "without_outliers"]


def without_outliers(context: MethodContext, prepared: ir.Model) -> Candidate | None:
    """The first INT8 model of a network whose norms are useless on int8 grids; None where they are not.

    Args:
        context: what methods work with.
        prepared: the float model.
    """
    threads = context.config.threads
    if not METHOD.wanted(context.config) or not spoils_norms(prepared, context.probe_samples, threads):
        return None
    known = _looked_at(context, prepared)
    changed, norms = rewrite_outlier_norms(prepared, context.probe_samples, threads, known.statistics, known.channels)
    changed, gates = decouple_gate_inputs(changed, context.probe_samples, threads, known.channels)
    nothing = Candidate(prepared, known, Plan(), prepared, lambda: Fidelity(-np.inf, {}), [])
    found = still_true(known, prepared, changed, context.probe_samples[0])
    return _even(context, replace(nothing, prepared=changed, found=found), {"norms": norms, "gates": gates})


def _looked_at(context: MethodContext, prepared: ir.Model) -> RangeResult:
    """What all samples show of norms and gates."""
    graph = prepared.graph
    channels = Extents((n, Extent.empty(a)) for n, a in {**norm_axes(graph), **gate_axes(graph)}.items())
    names, feeds, progress = between_norms(graph), context.feeds, context.progress
    seen = calibrate(prepared, feeds, names, channels=channels, threads=context.config.threads, progress=progress)
    return RangeResult({}, seen, {}, {}, channels=channels)


def outlier_channels(context: MethodContext, best: Candidate) -> Candidate | None:
    """Norms and gates that one huge channel spoils get other forms, whose channels are then evened out."""
    if best.even:
        return None
    threads = context.config.threads
    known = best.found
    prepared, norms = rewrite_outlier_norms(best.prepared, context.samples, threads, known.statistics, known.channels)
    prepared, gates = decouple_gate_inputs(prepared, context.samples, threads, known.channels)
    if not norms and not gates:
        return None
    touched = changed_tensors(best.prepared, prepared)
    # norms that are too wide for int8 are known to spoil what they make
    if not norms and not context.promises(best, partial(with_exact_tensors, best.model, touched), WORTH):
        return None
    found = still_true(best.found, best.prepared, prepared, context.probe_samples[0])
    return _even(context, replace(best, prepared=prepared, found=found), {"norms": norms, "gates": gates})


def _even(context: MethodContext, start: Candidate, notes: Mapping[str, Any]) -> Candidate | None:
    """The INT8 model of a network in its other form, with even channels, which need no clipping."""
    trial = equalization(context, start, promised=True, whole=True)
    return replace(trial, notes={**notes, **trial.notes}) if trial is not None else None


METHOD = Method("outlier channels", 2, "equalization", outlier_channels, fits=finds_ranges)
