"""Sentences with their labels: one a line whatever they hold, tables by their header, damage named by its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.errors import SourceError
from n6convert.samples.text import TextFile


def read(folder: Path, name: str, text: str | bytes, **options: object) -> list[tuple[str, object, object]]:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return [(s.id, s.data, s.label) for s in TextFile(path, **options)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_sentence_a_line_by_its_number(end: str, tmp_path: Path) -> None:
    found = read(tmp_path, "a.txt", end.join(["one", "", "  two words ", "drei größer"]))
    assert found == [("line 1", "one", None), ("line 3", "two words", None), ("line 4", "drei größer", None)]
    assert read(tmp_path, "a.txt", b"\xef\xbb\xbfone\n") == [("line 1", "one", None)]


#: where Python's str.splitlines ends a line, too
SEPARATORS = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"]


@pytest.mark.parametrize("separator", SEPARATORS)
def test_separators_inside_a_sentence_end_no_line(separator: str, tmp_path: Path) -> None:
    """Text from the web holds them. The label behind one would be lost, without a word."""
    sentence = f"good{separator}film"
    assert read(tmp_path, "a.txt", f"{sentence}\nbad") == [("line 1", sentence, None), ("line 2", "bad", None)]
    for name, mark in (("a.tsv", "\t"), ("a.csv", ",")):
        table = f"sentence{mark}label\n{sentence}{mark}1\nbad{mark}0\n"
        assert read(tmp_path, name, table) == [("line 2", sentence, 1), ("line 3", "bad", 0)]


@pytest.mark.parametrize(("header", "row", "label"), [
    ("label\tsentence", "3\tx", 3), ("SENTENCE \t Label", "x\t-1", -1), ("text\tclass", "x\t 2 ", 2),
    ("id\tcontent\ttarget\tother", "9\tx\t1\t7", 1), ("question", "x", None), ("id\treview", "9\tx", None),
    ("sentence\tlabel", "x", None),
])  # fmt: skip
def test_columns_by_their_names(header: str, row: str, label: int | None, tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", f"{header}\n{row}\n") == [("line 2", "x", label)]


def test_quotes_of_tables(tmp_path: Path) -> None:
    """Those of a .tsv are part of the sentence; a .csv's hold commas and line ends."""
    assert read(tmp_path, "a.tsv", 'text\tlabel\n"so\t1\n') == [("line 2", '"so', 1)]
    found = read(tmp_path, "a.csv", 'text,label\n"a, ""b""\nc",1\nd,0\n')
    assert found == [("line 3", 'a, "b"\nc', 1), ("line 4", "d", 0)]


def test_rows_without_a_sentence_are_left_out(tmp_path: Path) -> None:
    assert read(tmp_path, "a.tsv", "label\ttext\n1\n\n2\t  \n3\tx\n") == [("line 5", "x", 3)]


@pytest.mark.parametrize(("name", "text", "problem", "place"), [
    ("a.txt", "\n  \n", "holds no sentences", "a.txt"),
    ("a.txt", b"gr\xfcn", "not UTF-8", "a.txt"),
    ("a.tsv", "", "no text column", "a.tsv"),
    ("a.csv", "a,b\n1,2\n", "no text column", "a.csv"),
    ("a.tsv", "text\tlabel\n", "holds no sentences", "a.tsv"),
    ("a.tsv", "text\tlabel\nx\tgood\n", "label is not a whole number", "a.tsv: line 2"),
    ("a.tsv", "text\tlabel\nx\t1\ny\t1.5\n", "label is not a whole number", "a.tsv: line 3"),
    ("a.csv", 'text,label\n"x\ny",1\nz,\n', "label is not a whole number", "a.csv: line 4"),
    ("a.tsv", "text\tlabel\nx\t1\n" + "y" * 140_000 + "\t1\n", "table is damaged", "a.tsv: line 3"),
])  # fmt: skip
def test_what_is_wrong_and_where(name: str, text: str | bytes, problem: str, place: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        read(tmp_path, name, text)
    assert str(caught.value.place) == str(tmp_path / place)
