"""From shared options to the draft of a recipe."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n6convert.recipe.draft import Draft

__all__ = ["draft_of", "image_size", "parse_size"]

_LONGEST_SIZE = 32
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20}
#: option -> recipe key
_KEYS = {
    "weights": ("weights",),
    "trust": ("trust",),
    "calibration": ("calibration", "source"),
    "samples": ("calibration", "samples"),
    "evaluate": ("evaluation", "source"),
    "imgsz": ("options", "imgsz"),
    "output": ("output",),
    "target": ("target",),
    "pools": ("compiler", "pools"),
    "name": ("package", "name"),
    "effort": ("quantization", "effort"),
    "max_drop": ("acceptance", "max_drop"),
    "max_milliseconds": ("acceptance", "max_milliseconds"),
    "max_flash": ("acceptance", "max_flash"),
}


def draft_of(model: str, settings: Sequence[str] | None = None, **options: Any) -> Draft:
    """The recipe of a model with options and ``--set`` on top.

    Args:
        model: a model's name, a recipe's name or path, or a model file.
        settings: words of ``--set``: ``key=value``; they win over options.
        options: values by option name, dashes as underscores; None was not given.

    Raises:
        UsageError, RecipeError: no such model, key or value.
    """
    from n6convert.api import make_draft
    from n6convert.recipe.draft import parse_setting

    draft = make_draft(model)
    for option, value in options.items():
        if value is not None:
            draft.set(_KEYS[option], str(value) if isinstance(value, Path) else value, f"--{option.replace('_', '-')}")
    for text in settings or []:
        draft.set(*parse_setting(text), f"--set {text}")
    return draft


def parse_size(text: str) -> int:
    """Bytes from ``2MiB``, ``900KiB`` or a plain number.

    Raises:
        UsageError: it is none of these.
    """
    from n6convert.errors import UsageError

    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(B|KiB|MiB)?", text.strip())
    size = int(Decimal(found[1]) * _UNITS[found[2] or "B"]) if found and len(text) <= _LONGEST_SIZE else 0
    if size <= 0:
        raise UsageError("this is no size", found=text, limit="a number of bytes, or with KiB or MiB", remedy="2MiB")
    return size


def image_size(text: str | None, model: str, settings: Sequence[str] | None, target: str | None) -> int | None:
    """The value of ``--imgsz``; ``auto`` is the largest size whose activations stay on the chip.

    Args:
        text: the option's value; None was not given.
        model: model, recipe or file whose size it is.
        settings: words of ``--set``.
        target: board and compiler version.

    Raises:
        UsageError: no number and not ``auto``, or no size of the model stays on the chip.
    """
    from n6convert.errors import UsageError

    if text is None or text.isdecimal():
        return None if text is None else int(text)
    if text != "auto":
        raise UsageError("this is no size", place="--imgsz", found=text, limit="a number of pixels, or auto")
    from n6convert.fitting.largest import largest_input

    best, _ = largest_input(lambda: draft_of(model, settings, target=target))
    if best is None:
        raise UsageError("no size of this model stays on the chip", place="--imgsz auto", remedy="give a size")
    return best.size
