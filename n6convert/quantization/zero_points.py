"""Zero points that make the NPU fast.

A convolution whose input has zero point -128 or 0 runs on 8-bit features; any other zero point is subtracted in the
unit and makes features 16 bit, which costs 15 to 25 % of its cycles (SPEC e.3). A grid with zero point 0 spends up to
one bit on the side that is not used; one with -128 clips what is negative.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.quantization.calibrate import Statistics
from n6convert.quantization.grid import Grid
from n6convert.quantization.ranges import Effect, Range, range_error
from n6convert.quantization.sharing import shared_groups

__all__ = ["CHEAP", "PRICE", "CheapZeroPoints", "cheapen"]

#: zero points with which a convolution's input costs nothing extra
CHEAP = (-128, 0)
#: Cycles saved by tensor name when that tensor, which feeds convolutions, gets a zero point of :data:`CHEAP`. It is
#: called with the float model that is being quantized, whose node names and shapes are those of the INT8 model.
CheapZeroPoints = Callable[[ir.Model], Mapping[str, float]]

#: dB of a tensor's own SQNR that may be given for the whole network's cycles, by policy
PRICE = {"speed": np.inf, "balanced": 20.0, "accuracy": 0.0}
_FREE = 0.05


def cheapen(
    model: ir.Model,
    ranges: dict[str, Range],
    statistics: Mapping[str, Statistics],
    effects: Mapping[str, Effect | None],
    policy: str,
    cycles: CheapZeroPoints | None,
) -> list[dict[str, Any]]:
    """Change ranges, in place, so that convolution inputs get cheap zero points where the policy finds it worth it.

    The error is the tensor's own mean squared error on its histogram. ``speed`` takes every cheap zero point,
    ``accuracy`` only those that cost no error, ``balanced`` pays 1 dB of a tensor's SQNR for 5 % of all cycles.

    Returns:
        One record a tensor: name, saved (cycles, or multiplications when no target was asked), the SQNR before and
        after, and whether it was taken.
    """
    saved = dict(cycles(model)) if cycles is not None else _multiplications(model.graph)
    total = sum(saved.values()) or 1.0
    groups = shared_groups(model.graph)
    records = []
    for name, gain in saved.items():
        members = [m for m in ranges if groups.get(m, m) == groups.get(name, name)]
        known = [m for m in members if m in statistics and statistics[m].histogram is not None]
        if not known:
            continue
        record = _weigh(name, [ranges[m] for m in members], statistics[known[0]], effects.get(known[0]))
        if record is None:
            continue
        span = record.pop("span")
        lost = record["sqnr_db"] - record["cheap_sqnr_db"]
        taken = lost <= max(PRICE[policy] * gain / total, _FREE)
        records.append(record | {"saved": gain, "taken": bool(taken)})
        if taken:
            ranges.update(dict.fromkeys(members, span))
    return records


def _weigh(name: str, spans: list[Range], statistics: Statistics, effect: Effect | None) -> dict[str, Any] | None:
    """The best cheap range for a group; None when its zero point is cheap already."""
    low, high = min(0.0, *(s[0] for s in spans)), max(0.0, *(s[1] for s in spans))
    if Grid.from_range(low, high).zero_point in CHEAP or statistics.histogram is None:
        return None
    largest = max(-low, high)
    options: list[Range] = [(low, high), (-largest, largest), (0.0, high)]
    errors = range_error(statistics.histogram, options, effect)
    best = 1 + int(np.argmin(errors[1:]))
    decibel = -10 * np.log10(np.maximum(errors, 1e-12))
    return {
        "name": name,
        "span": options[best],
        "sqnr_db": float(decibel[0]),
        "cheap_sqnr_db": float(decibel[best]),
    }


def _multiplications(graph: ir.Graph) -> dict[str, float]:
    """Multiplications of the convolutions that read each tensor: what is at stake when no target tells cycles."""
    found: dict[str, float] = {}
    for node in graph:
        source, weight = node.inputs[0] if node.inputs else None, node.inputs[1] if len(node.inputs) > 1 else None
        if node.op_type not in ("Conv", "Gemm") or source is None or weight is None or weight.shape is None:
            continue
        shape = [d for d in node.outputs[0].shape or () if isinstance(d, int)]
        taps = np.prod([d for d in weight.shape if isinstance(d, int)], dtype=float)
        positions = np.prod(shape[2:] if node.op_type == "Conv" else shape[:1], dtype=float)
        found[source.name or ""] = found.get(source.name or "", 0.0) + float(taps * positions)
    return found
