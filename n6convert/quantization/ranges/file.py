"""``ranges.json``: calibration results to keep, edit by hand, and share between recipes."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from n6convert.errors import OutputError, QuantizationError, SourceError
from n6convert.quantization.ranges.estimators import Range
from n6convert.store.inputs import read_json

__all__ = ["check_known", "load_ranges", "save_ranges"]

_FORMAT = "n6convert ranges 1"
_REMEDY = "make one with `n6convert quantize FILE.onnx --save-ranges ranges.json`"
#: a scale is a float32
_LARGEST = 1e30


def save_ranges(ranges: dict[str, Range], path: Path) -> None:
    """Write ranges as ``{"format": ..., "ranges": {tensor: [low, high]}}``, one tensor a line.

    Raises:
        OutputError: the file cannot be written.
    """
    lines = ",\n".join(
        f"    {json.dumps(name)}: {json.dumps([float(end) for end in span])}" for name, span in sorted(ranges.items())
    )
    text = f'{{\n  "format": "{_FORMAT}",\n  "ranges": {{\n{lines}\n  }}\n}}\n'
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError("cannot write the ranges", place=path, found=str(error)) from error


def load_ranges(path: Path) -> dict[str, Range]:
    """Read a file that :func:`save_ranges` wrote and somebody may have edited.

    Raises:
        SourceError: not such a file, or a range that is not two finite numbers in order; the tensor is named.
    """
    try:
        content = read_json(path)
        entries = content["ranges"] if content["format"] == _FORMAT else None
    except SourceError as error:
        found = error.found or error.problem
        raise SourceError("cannot read the ranges", place=path, found=found, remedy=_REMEDY) from error
    except (OSError, KeyError, TypeError) as error:
        raise SourceError("cannot read the ranges", place=path, found=str(error)[:200], remedy=_REMEDY) from error
    if not isinstance(entries, dict):
        raise SourceError("the file holds no ranges", place=path, limit=f'"format": "{_FORMAT}"', remedy=_REMEDY)
    return {name: _checked(path, name, span) for name, span in entries.items()}


def _checked(path: Path, name: str, span: object) -> Range:
    ends: list[Any] = span if isinstance(span, list) and len(span) == 2 else [None]
    if all(type(v) in (int, float) for v in ends) and -_LARGEST <= ends[0] <= ends[1] <= _LARGEST:
        return float(ends[0]), float(ends[1])
    raise SourceError(
        "a range is wrong",
        place=f"{path}, tensor {name}",
        limit=f"[low, high], finite, low <= high, no more than {_LARGEST:g}",
        found=repr(span)[:200],
        remedy="correct it, or delete the file and calibrate again",
    )


def check_known(ranges: dict[str, Range], names: Iterable[str]) -> dict[str, Range]:
    """The ranges of the given tensors.

    Raises:
        QuantizationError: a tensor has no range; the file belongs to another model or another version of it.
    """
    missing = [n for n in names if n not in ranges]
    if missing:
        raise QuantizationError(
            "the saved ranges do not cover the model",
            place=f"tensor {missing[0]}",
            found=f"{len(missing)} tensors without a range",
            remedy="calibrate again, or use the ranges of this very model",
        )
    return {n: ranges[n] for n in names}
