"""From shared options to the draft of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from n6convert.recipes_io import Draft

__all__ = ["draft_of"]

#: option -> recipe key
_KEYS = {
    "weights": ("weights",),
    "calibration": ("calibration", "source"),
    "samples": ("calibration", "samples"),
    "evaluate": ("evaluation", "source"),
    "imgsz": ("options", "imgsz"),
    "output": ("output",),
    "target": ("target",),
}


def draft_of(model: str, settings: Sequence[str] | None = None, **options: Any) -> Draft:
    """The recipe of a model with options and ``--set`` on top.

    Args:
        model: a model's name, a recipe's name or path, or a model file.
        settings: words of ``--set``: ``key=value``; they win over options.
        options: values by option name, without dashes; None was not given.

    Raises:
        UsageError, RecipeError: no such model, key or value.
    """
    from n6convert.api import make_draft
    from n6convert.recipes_io import parse_setting

    draft = make_draft(model)
    for option, value in options.items():
        if value is not None:
            draft.set(_KEYS[option], str(value) if isinstance(value, Path) else value, f"--{option}")
    for text in settings or []:
        draft.set(*parse_setting(text), f"--set {text}")
    return draft
