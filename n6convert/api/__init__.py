"""The Python door: every command as a function that neither prints nor exits, usable from threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.lazy import first_use

if TYPE_CHECKING:
    from n6convert.api.comparing import compare
    from n6convert.api.conversion import convert, convert_draft, effective_recipe, make_draft, models, tune
    from n6convert.api.debugging import Diagnosis, debug
    from n6convert.api.linting import lint
    from n6convert.api.quantizing import quantize
    from n6convert.api.rewriting import rewrite

__all__ = [
    "Diagnosis",
    "compare",
    "convert",
    "convert_draft",
    "debug",
    "effective_recipe",
    "lint",
    "make_draft",
    "models",
    "quantize",
    "rewrite",
    "tune",
]

_HOMES = {
    "Diagnosis": "debugging",
    "compare": "comparing",
    "convert": "conversion",
    "convert_draft": "conversion",
    "debug": "debugging",
    "effective_recipe": "conversion",
    "lint": "linting",
    "make_draft": "conversion",
    "models": "conversion",
    "quantize": "quantizing",
    "rewrite": "rewriting",
    "tune": "conversion",
}
__getattr__ = first_use(__name__, _HOMES)
