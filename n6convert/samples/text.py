"""Sentences from ``.txt`` (one per line) and ``.tsv`` / ``.csv`` files (a header; a label where there is one)."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError
from n6convert.samples.base import Sample
from n6convert.samples.listed import ListedSource

__all__ = ["TextFile"]

_TEXT_COLUMNS = ("content", "sentence", "text", "review", "question")
_LABEL_COLUMNS = ("label", "class", "target")
Row = tuple[int, str, int | None]


class TextFile(ListedSource[Row]):
    """One sentence a line; the label is a whole number, or None.

    Raises:
        SourceError: not a text file, no text column, or no sentences.
    """

    def __init__(self, file: Path, **options: Any) -> None:
        try:
            text = file.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise SourceError("the text file is not UTF-8", place=file, found=error) from error
        table = file.suffix.lower() in (".tsv", ".csv")
        # only line ends end a line: Python's splitlines() takes separators that sentences hold (U+2028, U+0085), too
        lines = enumerate(text.split("\n"), 1)
        rows = _table(text, file) if table else [(i, line.strip(), None) for i, line in lines if line.strip()]
        if not rows:
            raise SourceError("the text file holds no sentences", place=file)
        super().__init__(str(file), rows, **options)

    def read(self, item: Row) -> Sample:
        return Sample(f"line {item[0]}", item[1], item[2])


def _table(text: str, file: Path) -> list[Row]:
    tabbed = file.suffix.lower() == ".tsv"
    lines = io.StringIO(text)
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabbed else csv.reader(lines)
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise SourceError("the table is damaged", place=f"{file}: line {reader.line_num}", found=error) from error
    header = [c.strip().lower() for c in rows[0][1]] if rows else []
    column = next((header.index(c) for c in _TEXT_COLUMNS if c in header), None)
    label = next((header.index(c) for c in _LABEL_COLUMNS if c in header), None)
    if column is None:
        limit = f"a header with one of {', '.join(_TEXT_COLUMNS)}"
        raise SourceError("the table has no text column", place=file, limit=limit, found=", ".join(header) or "nothing")
    found: list[Row] = []
    for number, row in rows[1:]:
        if len(row) > column and row[column].strip():
            found.append((number, row[column].strip(), _label(row, label, f"{file}: line {number}")))
    return found


def _label(row: list[str], column: int | None, place: str) -> int | None:
    if column is None or column >= len(row):
        return None
    try:
        return int(row[column])
    except ValueError as error:
        raise SourceError("a label is not a whole number", place=place, found=row[column]) from error
