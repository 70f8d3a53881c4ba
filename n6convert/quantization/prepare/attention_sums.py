"""Linear attention by sums of weights, in the form whose denominators INT8 can hold.

Networks that no rewrite rule has seen divide ``q (k v)`` by ``q (k 1)``, often as one product with values that are
padded by ones, cut in two afterwards: numerator and denominator share a grid on which the denominator is a few codes.
The rules that the rewrites have for it are proven and go by what the denominators span on samples, so the quantizer
applies the same ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir

from n6convert.rewrites.engine import run_rules
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.rules.attention.normalized_attention import NormalizedAttention
from n6convert.rewrites.rules.slicing.cut_pad import CutPad
from n6convert.rewrites.rules.slicing.cut_product import CutProduct
from n6convert.types import Feeds

__all__ = ["normalize_sums"]

#: largest difference of an output relative to its range, as for every exact rewrite
_TOLERANCE = 1e-4


def normalize_sums(model: ir.Model, samples: Sequence[Feeds], threads: int | None = None) -> tuple[ir.Model, list[str]]:
    """The model with normalized weights where sums of them are too coarse for INT8, and the names of those quotients.

    Args:
        model: prepared float model; returned as it is where there is nothing to normalize.
        samples: arrays by input name; tell what the sums span, and prove the other form.
        threads: None: as many as there are cores.
    """
    cut, normalize = CutProduct(), NormalizedAttention()
    if not any(_found(rule, node) for node in model.graph for rule in (cut, normalize)):
        return model, []
    proof = Proof(model, lambda: samples, threads)
    rules: list[Rewrite[Any]] = [cut, CutPad(), normalize]
    run = run_rules(model, rules, Context(), proof, None)
    if proof.difference(run.model) > _TOLERANCE:  # of any of them; those that hold are kept
        run = run_rules(model, rules, Context(), proof, _TOLERANCE)
    places = sorted(a.place for a in run.applied if a.rule == normalize.name)
    return (run.model, places) if places else (model, [])


def _found(rule: CutProduct | NormalizedAttention, node: ir.Node) -> bool:
    return node.op_type in rule.roots and rule.pattern(node) is not None
