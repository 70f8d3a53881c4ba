"""Min-max ranges, without clipping."""

from __future__ import annotations

from n6convert.quantization.methods.base import Method
from n6convert.quantization.methods.candidate import Candidate
from n6convert.quantization.methods.context import MethodContext
from n6convert.quantization.methods.ranges import clips_nothing, unclipped_ranges

__all__ = ["METHOD", "minmax_ranges"]


def minmax_ranges(context: MethodContext, best: Candidate) -> Candidate | None:
    """Ranges without clipping, where those happen to be better."""
    if best.even and clips_nothing(best.prepared, best.found):
        return None
    found = unclipped_ranges(best.found)
    return context.quantized(best.prepared, found) if found is not None else None


METHOD = Method("ranges: minmax", 0, None, minmax_ranges)
