"""Proof that tables, cut graph and additive mask together are the exported model."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.plugin.graphs import max_relative_difference, run_model
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.surgery import EMBEDDED, MASK

__all__ = ["check_cut"]

_EXACT, _MASKED = 1e-3, 0.05


def check_cut(whole: ir.Model, cut: ir.Model, embedding: Embedding, answer: str, mask: float, place: object) -> None:
    """Compare the exported model with what replaces it, on made-up tokens, without padding and half padded.

    Without padding the two must agree to 0.1 %. With padding the finite mask lets a little attention through; 5 % of
    the output's range are allowed, which separates a mask that is too small from a cut in the wrong place.

    Args:
        whole: as exported.
        cut: without lookup and mask.
        embedding: the lookup.
        answer: name of the output.
        mask: what stands for padding in the scores.
        place: of the weights, for messages.

    Raises:
        SourceError: they do not agree.
    """
    length = len(embedding.positions)
    ids = np.random.default_rng(0).integers(0, len(embedding.words), length)
    for real, tolerance, problem, remedy in (
        (length, _EXACT, "looking tokens up outside the graph changes the model's answers", "use a BERT-like model"),
        (max(2, length // 2), _MASKED, "the mask is too small to hide the padding", "a lower options.mask"),
    ):
        seen = (np.arange(length) < real).astype(np.int64)
        known = {"input_ids": ids, "attention_mask": seen, "token_type_ids": np.zeros_like(ids)}
        reference = run_model(whole, {str(v.name): known[str(v.name)][None] for v in whole.graph.inputs})[answer]
        added = np.where(seen == 1, 0, mask).astype(np.float32)[None, None, None]
        other = next(iter(run_model(cut, {EMBEDDED: embedding(ids), MASK: added}).values()))
        rows = slice(0, real) if reference.ndim == 3 else slice(None)
        difference = max_relative_difference(reference[:, rows], other[:, rows])
        if difference > tolerance:
            limit, found = f"{tolerance:g} of the output's range", f"{difference:.2g}"
            raise SourceError(problem, place=place, limit=limit, found=found, remedy=remedy)
