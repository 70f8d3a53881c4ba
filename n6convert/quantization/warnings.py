"""Warnings of the quantizer: ranges that nothing reads, samples of unlike scale, work that was not finished."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import onnx_ir as ir

from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.grid.plan import Plan
from n6convert.quantization.ranges.calibrate import Statistics
from n6convert.requantization.grids import given_count, noted_grids, origins

__all__ = ["given_grids", "warn_unused_ranges", "unfinished", "warn_sample_scale"]

#: a sample this many times smaller than the largest one is all zero on their common grid
_LEVELS = 255


def unfinished(budget: float | None, methods: Sequence[Mapping[str, Any]], out_of_time: Sequence[str]) -> list[str]:
    """What the time budget did not allow.

    Args:
        methods: records of the methods that were tried; ``layers_left`` names layers that one did not reach.
        out_of_time: methods that were given up or not begun.
    """
    left = [(m["method"], len(m["layers_left"])) for m in methods if m.get("layers_left")]
    texts = [f"the time budget of {budget} s ended in {name}; {n} layers are left as they were" for name, n in left]
    if out_of_time:
        texts.append(f"the time budget of {budget} s was too short for: {', '.join(out_of_time)}")
    return texts


def warn_unused_ranges(names: Sequence[str]) -> list[str]:
    """Ranges of a file that change nothing: a misspelt tensor, or one whose range follows from others."""
    if not names:
        return []
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return [f"the ranges file has ranges that nothing here needs: {', '.join(names[:3])}{more}; they are ignored"]


def given_grids(plan: Plan, props: Mapping[str, str]) -> tuple[dict[str, Any], list[str]]:
    """How many grids of a quantized file are kept, as facts and as a sentence, from a model's metadata."""
    noted, count = noted_grids(props), given_count(props)
    if not count:
        return {}, []
    here = {name: span for name, span in noted.items() if name in plan.grids and name not in plan.absorbed_inputs}
    changed = sorted(name for name, span in here.items() if plan.grids[name] != Grid.from_range(*span))
    held = origins(props)
    left = {held[name] for name in here}
    facts = {"given": count, "kept": len(left - {held[name] for name in changed}), "changed": changed}
    text = f"of {count} grids that the quantized file gave, {facts['kept']} are kept as they are"
    if changed:
        more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
        text += f"; {', '.join(changed[:3])}{more} share a grid with others now"
    gone = count - len(left)
    return facts, [text + (f"; {gone} tensors do not exist any more" if gone else "")]


def warn_sample_scale(graph: ir.Graph, statistics: Mapping[str, Statistics]) -> list[str]:
    """Inputs on whose grid whole samples vanish, because others are hundreds of times larger."""
    texts = []
    for name in (v.name or "" for v in graph.inputs):
        found = statistics.get(name)
        if found is None or max(-found.low, found.high) <= _LEVELS * found.quietest:
            continue
        texts.append(
            f"samples differ wildly in size: input {name} reaches {max(-found.low, found.high):.3g} in one and only "
            f"{found.quietest:.3g} in another, which one INT8 grid rounds to zero; check their encoding, or scale the "
            "input inside the model"
        )
    return texts
