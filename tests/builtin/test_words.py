"""WordPiece: pieces of words by the longest match, numbers by the vocabulary's lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.builtin.words import WordPiece
from n6convert.errors import SourceError

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
TOKENS = [*SPECIAL, "un", "##aff", "##able", "##a", "##ff", "a", "run", "##ning", ".", "!", "中", "cafe", "\u2028", "x"]


@pytest.fixture
def pieces(tmp_path: Path) -> WordPiece:
    (tmp_path / "vocab.txt").write_text("\n".join(TOKENS) + "\n", encoding="utf-8")
    return WordPiece(tmp_path / "vocab.txt")


def told(pieces: WordPiece, text: str, length: int = 12) -> str:
    ids, mask = pieces.encode(text, length)
    assert len(ids) == len(mask) == length
    assert [TOKENS[i] for i, m in zip(ids, mask, strict=True) if not m] == ["[PAD]"] * (length - sum(mask))
    assert mask == sorted(mask, reverse=True)
    return " ".join(TOKENS[i] for i, m in zip(ids, mask, strict=True) if m)


@pytest.mark.parametrize(("text", "wanted"), [
    ("", ""), ("unaffable", "un ##aff ##able"), ("Running RUN", "run ##ning run"), ("a.a!", "a . a !"),
    ("unknown", "[UNK]"), ("a unknown a", "a [UNK] a"), ("Café", "cafe"), ("cafe\u0301", "cafe"), ("a中a", "a 中 a"),
    ("affable", "a ##ff ##able"), ("  a\n\t a  ", "a a"), ("x", "x"), ("ab", "[UNK]"), ("\x00", "[UNK]"),
])  # fmt: skip
def test_texts(text: str, wanted: str, pieces: WordPiece) -> None:
    assert told(pieces, text) == " ".join(["[CLS]", *wanted.split(), "[SEP]"])


@pytest.mark.parametrize(("length", "wanted"), [
    (1, "[CLS]"), (2, "[CLS] [SEP]"), (3, "[CLS] un [SEP]"), (5, "[CLS] un ##aff ##able [SEP]"),
])  # fmt: skip
def test_what_is_too_long_is_cut_before_the_end_mark(length: int, wanted: str, pieces: WordPiece) -> None:
    assert told(pieces, "unaffable", length) == wanted


def test_numbers_count_lines_alone(pieces: WordPiece) -> None:
    """A token may be what Python takes for a line end; all tokens behind it would move by one."""
    assert pieces.encode("x", 3)[0] == [2, TOKENS.index("x"), 3]


def test_files_from_windows_and_without_a_last_line_end(tmp_path: Path) -> None:
    for text in ("\r\n".join([*SPECIAL, "x"]), "\n".join([*SPECIAL, "x"])):
        (tmp_path / "v.txt").write_bytes(text.encode())
        assert WordPiece(tmp_path / "v.txt").encode("x", 3)[0] == [2, 4, 3]


def test_a_long_word_is_cut_in_time(pieces: WordPiece) -> None:
    assert told(pieces, "un" + "a" * 5_000, 12).endswith("##a [SEP]")
    assert told(pieces, "z" * 20_000) == "[CLS] [UNK] [SEP]"


def test_what_is_no_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist") as caught:
        WordPiece(tmp_path / "none.txt")
    assert "options.vocab" in str(caught.value.remedy)
    (tmp_path / "v.txt").write_bytes(b"[PAD]\n[CLS]\n\xff\xfe\n")
    with pytest.raises(SourceError, match="no BERT vocabulary") as caught:
        WordPiece(tmp_path / "v.txt")
    assert caught.value.found == "no [UNK], [SEP]"
