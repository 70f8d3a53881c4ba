"""From text to token numbers: real tokenizers of both kinds, hashed pieces, and folders without one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from n6convert_tinybert.tokens import HashedTokens, folder_tokens

from n6convert.errors import SourceError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "bark", "##s", "Dog", "ä"]


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    return tmp_path


def _words(ids: np.ndarray) -> list[str]:
    return [WORDS[i] for i in ids]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a dog barks", ["[CLS]", "a", "dog", "bark", "##s", "[SEP]"]),
        ("A DOG", ["[CLS]", "a", "dog", "[SEP]"]),
        ("", ["[CLS]", "[SEP]"]),
        ("cat dog", ["[CLS]", "[UNK]", "dog", "[SEP]"]),
        ("a  \n\t dog", ["[CLS]", "a", "dog", "[SEP]"]),
        ("a a a a a a a a a", ["[CLS]", "a", "a", "a", "a", "a", "a", "[SEP]"]),
        ("dog [SEP] a", ["[CLS]", "dog", "[SEP]", "a", "[SEP]"]),
        ("\ud7ff\U0001f600", ["[CLS]", "[UNK]", "[SEP]"]),
    ],
)
def test_wordpiece_cuts_pads_and_marks_what_is_real(bert: Path, text: str, expected: list[str]) -> None:
    ids, real = folder_tokens(bert, 8, 0)(text)
    assert ids.shape == real.shape == (8,) and ids.dtype == np.int64
    assert _words(ids[real]) == expected
    assert not ids[~real].any() and real.tolist() == sorted(real.tolist(), reverse=True)


@pytest.mark.parametrize(
    ("config", "first"),
    [
        (None, "dog"),
        ('{"do_lower_case": true}', "dog"),
        ('{"do_lower_case": false}', "Dog"),
        ("{}", "dog"),
        ("[]", "dog"),
        ("not json", "dog"),
        ("[" * 100_000, "dog"),
    ],
)
def test_case_counts_where_the_config_says_so(bert: Path, config: str | None, first: str) -> None:
    if config is not None:
        (bert / "tokenizer_config.json").write_text(config)
    ids, real = folder_tokens(bert, 8, 0)("Dog")
    assert _words(ids[real]) == ["[CLS]", first, "[SEP]"]


def _described(folder: Path) -> Path:
    model = {"type": "WordLevel", "vocab": {"<pad>": 0, "x": 1, "y": 2, "<unk>": 3}, "unk_token": "<unk>"}
    whole: dict[str, Any] = {
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {
            "strategy": {"Fixed": 12},
            "direction": "Left",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "<pad>",
        },
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Whitespace"},
        "post_processor": None,
        "decoder": None,
        "model": model,
    }
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    return folder


@pytest.mark.parametrize("length", [1, 3, 6])
@pytest.mark.parametrize("padding", [0, 7])
def test_the_files_own_length_and_padding_do_not_count(bert: Path, length: int, padding: int) -> None:
    # tokenizer.json stands before vocab.txt
    ids, real = folder_tokens(_described(bert), length, padding)("x y z x")
    expected = [1, 2, 3, 1][:length]
    assert ids.tolist() == expected + [padding] * (length - len(expected))
    assert real.sum() == len(expected)


def test_one_tokenizer_reads_texts_one_after_another(bert: Path) -> None:
    tokens = folder_tokens(bert, 8, 0)
    alone = [tokens(t)[0].tolist() for t in ("a dog", "barks", "a dog")]
    assert alone[0] == alone[2] != alone[1]


def test_a_folder_without_a_tokenizer_names_what_it_has_and_how_to_get_one(tmp_path: Path) -> None:
    for i in range(12):
        (tmp_path / f"weights-{i:02}.bin").touch()
    with pytest.raises(SourceError, match=r"(?s)no tokenizer.*vocab\.txt.*weights-07\.bin.*save_pretrained") as caught:
        folder_tokens(tmp_path, 8, 0)
    assert "weights-08" not in str(caught.value).replace("\n", " ")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", b'{"version": "1.0"}', b"[1, 2]"])
def test_a_damaged_tokenizer_is_an_error_of_its_folder(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(SourceError, match="tokenizer cannot be read") as caught:
        folder_tokens(tmp_path, 8, 0)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("vocabulary", [2, 30, 999, 1000, 30522])
def test_hashed_pieces_are_the_same_everywhere_and_never_padding(vocabulary: int) -> None:
    tokens = HashedTokens(vocabulary, 10)
    ids, real = tokens("one two one")
    assert ids[real].min() >= 1 and ids.max() < vocabulary and not ids[~real].any()
    count = 3 if vocabulary >= 1000 else 10  # words, else characters
    assert real.sum() == count
    if count == 3:
        assert ids[0] == ids[2]
        assert ids[0] != ids[1]
    np.testing.assert_array_equal(ids, HashedTokens(vocabulary, 10)("one two one")[0])


def test_hashed_pieces_are_cut_at_the_length_and_nothing_is_all_padding() -> None:
    ids, real = HashedTokens(1000, 2)("a b c")
    assert real.all() and ids.tolist() == HashedTokens(1000, 3)("a b c")[0][:2].tolist()
    assert not HashedTokens(1000, 4)("  ")[1].any()
    assert HashedTokens(30, 4)("ö\u2028")[1].tolist() == [True, True, False, False]
