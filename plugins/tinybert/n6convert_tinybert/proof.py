"""Proof that tables, cut graph and additive mask together are the exported model."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert.errors import SourceError
from n6convert.numerics import max_relative_difference, run_model
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.surgery import EMBEDDED, MASK

__all__ = ["check_cut"]

_TOLERANCE = 1e-3


def check_cut(whole: ir.Model, cut: ir.Model, embedding: Embedding, answer: str, mask: float, place: object) -> None:
    """Compare the exported model with what replaces it, on made-up tokens, without padding and half padded.

    Without padding the two must agree to 0.1 %. With padding the finite mask lets a little attention through; 5 % of
    the output's range are allowed, which separates a mask that is too small from a cut in the wrong place.

    Raises:
        SourceError: they do not agree.
    """
    length, width = len(embedding.positions), len(embedding.words)
    ids = np.random.default_rng(0).integers(0, width, length)
    for real, tolerance in ((length, _TOLERANCE), (max(2, length // 2), 0.05)):
        seen = (np.arange(length) < real).astype(np.int64)
        feeds = {"input_ids": ids[None], "attention_mask": seen[None], "token_type_ids": np.zeros((1, length), np.int64)}
        feeds = {str(v.name): feeds[str(v.name)] for v in whole.graph.inputs}
        reference = run_model(whole, feeds)[answer]
        added = np.where(seen == 1, 0, mask).astype(np.float32)[None, None, None]
        other = next(iter(run_model(cut, {EMBEDDED: embedding(ids), MASK: added}).values()))
        rows = slice(0, real) if reference.ndim == 3 else slice(None)
        difference = max_relative_difference(reference[:, rows], other[:, rows])
        if difference > tolerance:
            raise SourceError(
                "looking tokens up outside the graph changes the model's answers" if real == length
                else "the mask is too small to hide the padding",
                place=place,
                limit=f"{tolerance:g} of the output's range",
                found=f"{difference:.2g}",
                remedy="use a BERT-like model" if real == length else "--set options.mask with a larger negative number",
            )  # fmt: skip
