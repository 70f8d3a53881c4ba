"""Sentences from ``.txt`` (one a line) and ``.tsv`` / ``.csv`` files (a header; a label where there is one)."""

from __future__ import annotations

import csv
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
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError as error:
            raise SourceError("the text file is not UTF-8", place=file, found=error) from error
        table = file.suffix.lower() in (".tsv", ".csv")
        rows = _table(lines, file) if table else [(i, t.strip(), None) for i, t in enumerate(lines, 1) if t.strip()]
        if not rows:
            raise SourceError("the text file holds no sentences", place=file)
        super().__init__(str(file), rows, **options)

    def read(self, item: Row) -> Sample:
        return Sample(f"line {item[0]}", item[1], item[2])


def _table(lines: list[str], file: Path) -> list[Row]:
    tabbed = file.suffix.lower() == ".tsv"
    rows = list(csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabbed else csv.reader(lines))
    header = [c.strip().lower() for c in rows[0]] if rows else []
    text = next((header.index(c) for c in _TEXT_COLUMNS if c in header), None)
    label = next((header.index(c) for c in _LABEL_COLUMNS if c in header), None)
    if text is None:
        limit = f"a header with one of {', '.join(_TEXT_COLUMNS)}"
        raise SourceError("the table has no text column", place=file, limit=limit, found=", ".join(header) or "nothing")
    found: list[Row] = []
    for number, row in enumerate(rows[1:], 2):
        if len(row) > text and row[text].strip():
            found.append((number, row[text].strip(), _label(row, label, f"{file}: line {number}")))
    return found


def _label(row: list[str], column: int | None, place: str) -> int | None:
    if column is None or column >= len(row):
        return None
    try:
        return int(row[column])
    except ValueError as error:
        raise SourceError("a label is not a whole number", place=place, found=row[column]) from error
