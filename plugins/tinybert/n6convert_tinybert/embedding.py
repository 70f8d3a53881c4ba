"""The embedding outside the graph: lookup, position, token type and first LayerNorm; numpy here, C on the board.

Gather runs on the CPU in every compiler version ([#transformers]), and a graph input of embedded tokens is int8 anyway.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError

__all__ = ["Embedding", "find_tables"]

Array = NDArray[np.float32]
_WORDS = ("embeddings.word_embeddings.weight",)
_POSITIONS = ("embeddings.position_embeddings.weight",)
_TYPES = ("embeddings.token_type_embeddings.weight",)
_GAMMA = ("embeddings.LayerNorm.weight", "embeddings.LayerNorm.gamma")
_BETA = ("embeddings.LayerNorm.bias", "embeddings.LayerNorm.beta")


@dataclass(frozen=True)
class Embedding:
    """Tables of a BERT-like embedding.

    Attributes:
        words: [V,D].
        positions: [S,D], one row a place of the sequence, token type 0 added.
        gamma, beta: [D] of the LayerNorm.
        epsilon: of the LayerNorm.
    """

    words: Array
    positions: Array
    gamma: Array
    beta: Array
    epsilon: float

    def __call__(self, ids: NDArray[np.integer]) -> Array:
        """Embedded tokens [1,S,D] of ids [S]."""
        x = (self.words[ids] + self.positions).astype(np.float64)
        x -= x.mean(-1, keepdims=True)
        x /= np.sqrt((x * x).mean(-1, keepdims=True) + self.epsilon)
        return np.asarray(x * self.gamma + self.beta, np.float32)[None]

    def rounded(self) -> Embedding:
        """The same with the word table on the int8 grid that :meth:`quantized_words` gives."""
        rows, scales = self.quantized_words()
        return Embedding(rows * scales[:, None], self.positions, self.gamma, self.beta, self.epsilon)

    def quantized_words(self) -> tuple[NDArray[np.int8], Array]:
        """Word table as int8 [V,D] with one scale a row [V]: ``words = rows * scales``."""
        scales = np.maximum(np.abs(self.words).max(1), 1e-12).astype(np.float32) / 127
        return np.rint(self.words / scales[:, None]).astype(np.int8), scales


def find_tables(tensors: Mapping[str, Array], sequence: int, *, epsilon: float, first: int, place: object) -> Embedding:
    """The embedding of a checkpoint, by the names BERT, RoBERTa, ELECTRA and DistilBERT share.

    Args:
        tensors: checkpoint by parameter name.
        sequence: number of tokens.
        epsilon: of the LayerNorm.
        first: row of the position table that belongs to the first token.
        place: for messages.

    Raises:
        SourceError: a table is missing, or the sequence is longer than the position table.
    """
    words, positions = (_tensor(tensors, names, place) for names in (_WORDS, _POSITIONS))
    limit = len(positions) - first
    if sequence > limit:
        raise SourceError(
            "the sequence is longer than the model's position table",
            place=place,
            limit=f"at most {limit} tokens",
            found=f"{sequence} tokens",
            remedy=f"--set options.sequence={limit} or less",
        )
    rows = positions[first : first + sequence]
    types = _find(tensors, _TYPES)
    if types is not None:
        rows = rows + types[0]
    return Embedding(words, rows, _tensor(tensors, _GAMMA, place), _tensor(tensors, _BETA, place), epsilon)


def _find(tensors: Mapping[str, Array], names: tuple[str, ...]) -> Array | None:
    found = [key for key in tensors for name in names if key == name or key.endswith("." + name)]
    return np.asarray(tensors[found[0]], np.float32) if found else None


def _tensor(tensors: Mapping[str, Array], names: tuple[str, ...], place: object) -> Array:
    found = _find(tensors, names)
    if found is None:
        raise SourceError(
            "the weights hold no BERT embedding",
            place=place,
            limit=f"a tensor named ...{names[0]}",
            found=", ".join(sorted(tensors)[:5]) or "no tensors",
        )
    return found
