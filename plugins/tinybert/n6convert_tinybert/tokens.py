"""Text to token numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["HashedTokens", "TextTokens", "folder_tokens"]

#: smallest vocabulary that is taken to hold words
_WORDS = 1000
Tokens = tuple[NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class TextTokens:
    """A tokenizer with a fixed length.

    Attributes:
        tokenizer: of the ``tokenizers`` library.
        length: texts are cut or padded to so many tokens.
        padding: number of the padding token.
    """

    tokenizer: Tokenizer
    length: int
    padding: int

    def __call__(self, text: str) -> Tokens:
        """Token numbers [S] and which of them are real [S]."""
        self.tokenizer.enable_truncation(self.length)
        self.tokenizer.no_padding()
        return _padded(self.tokenizer.encode(text).ids, self.length, self.padding)


@dataclass(frozen=True)
class HashedTokens:
    """Numbers for the pieces of a text when there is no vocabulary, as with seeded weights.

    Pieces are words, or characters when the vocabulary is too small for words; a piece always gets the same number.
    """

    vocabulary: int
    length: int

    def __call__(self, text: str) -> Tokens:
        """Token numbers [S] and which of them are real [S]; 0 is padding."""
        pieces = text.split() if self.vocabulary >= _WORDS else list(text)
        ids = [1 + crc32(piece.encode()) % (self.vocabulary - 1) for piece in pieces[: self.length]]
        return _padded(ids, self.length, 0)


def _padded(ids: Sequence[int], length: int, padding: int) -> Tokens:
    padded = np.full(length, padding, np.int64)
    padded[: len(ids)] = ids
    return padded, np.arange(length) < len(ids)


def folder_tokens(folder: Path, length: int, padding: int) -> TextTokens:
    """The tokenizer of a Hugging Face folder: ``tokenizer.json``, or BERT's from ``vocab.txt``.

    Args:
        folder: of a Hugging Face model.
        length: tokens of an input.
        padding: number of the padding token.

    Raises:
        SourceError: there is none, or it is damaged.
    """
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    described, vocabulary = folder / "tokenizer.json", folder / "vocab.txt"
    try:
        if described.is_file():
            return TextTokens(Tokenizer.from_file(str(described)), length, padding)
        if vocabulary.is_file():
            wordpiece = BertWordPieceTokenizer(str(vocabulary), lowercase=_lowercase(folder))
            return TextTokens(wordpiece._tokenizer, length, padding)
    except Exception as error:  # the library raises plain Exception
        raise SourceError("the tokenizer cannot be read", place=folder, found=str(error)[:200]) from error
    found = ", ".join(sorted(p.name for p in folder.iterdir())[:8])
    raise SourceError(
        "the folder has no tokenizer",
        place=folder,
        limit="tokenizer.json, or vocab.txt of a WordPiece tokenizer",
        found=found,
        remedy="save it there with AutoTokenizer.from_pretrained(...).save_pretrained(FOLDER)",
    )


def _lowercase(folder: Path) -> bool:
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("do_lower_case", True))
    except (OSError, ValueError, AttributeError, RecursionError):
        return True
