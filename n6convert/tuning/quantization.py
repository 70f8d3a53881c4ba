"""What tuning takes from the quantizer: the only module here that imports it."""

from __future__ import annotations

from n6convert.graph.extract import with_outputs
from n6convert.quantization.fidelity import Evaluator, Fidelity, closeness_of
from n6convert.quantization.padding import axes_of_places, tokens_of, without_padding
from n6convert.quantization.stable import exceeds
from n6convert.quantization.topology.sharing import fixed_range, passes_through

__all__ = [
    "Evaluator",
    "Fidelity",
    "axes_of_places",
    "closeness_of",
    "exceeds",
    "fixed_range",
    "passes_through",
    "tokens_of",
    "with_outputs",
    "without_padding",
]
