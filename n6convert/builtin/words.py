"""WordPiece: text to the token ids of a BERT vocabulary, enough for calibration."""

from __future__ import annotations

import unicodedata
from pathlib import Path

from n6convert.errors import SourceError

__all__ = ["WordPiece"]

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_LONGEST = 100


class WordPiece:
    """Lower-casing WordPiece over a ``vocab.txt``, one token a line.

    Raises:
        SourceError: the file is missing or has no BERT vocabulary.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise SourceError("the vocabulary does not exist", place=path, remedy="set options.vocab to a vocab.txt")
        # the number of a token counts line ends only, though a token may be a separator of its own (U+2028, U+0085)
        lines = path.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n")
        self._ids = {token: number for number, token in enumerate(lines)}
        missing = [token for token in _SPECIAL if token not in self._ids]
        if missing:
            raise SourceError("this is no BERT vocabulary", place=path, found=f"no {', '.join(missing)}")

    def encode(self, text: str, length: int) -> tuple[list[int], list[int]]:
        """(ids, mask) of exactly ``length``: [CLS], the text cut to fit, [SEP], padding."""
        pieces = [piece for word in _words(text) for piece in self._pieces(word)]
        tokens = ["[CLS]", *pieces[: length - 2], "[SEP]"][:length]
        ids = [self._ids[token] for token in tokens]
        padding = length - len(ids)
        return ids + [self._ids["[PAD]"]] * padding, [1] * len(ids) + [0] * padding

    def _pieces(self, word: str) -> list[str]:
        found: list[str] = []
        start = 0
        while start < len(word):
            for end in range(min(len(word), start + _LONGEST), start, -1):
                piece = ("##" if start else "") + word[start:end]
                if piece in self._ids:
                    break
            else:
                return ["[UNK]"]
            found.append(piece)
            start = end
        return found


def _words(text: str) -> list[str]:
    """Lower-cased, without accents, punctuation and CJK characters apart."""
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    spaced = "".join(f" {c} " if _stands_alone(c) else c for c in plain)
    return spaced.split()


def _stands_alone(char: str) -> bool:
    return unicodedata.category(char)[0] in "PS" or "一" <= char <= "鿿"
