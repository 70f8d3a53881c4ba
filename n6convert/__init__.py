"""Convert neural networks for the STM32N6 NPU.

``convert`` does the whole job, ``estimate`` predicts placement, memory and time of a quantized model, ``models`` lists
what is installed. Everything here is loaded when it is first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.lazy import first_use

if TYPE_CHECKING:
    from n6convert.api import convert, models
    from n6convert.errors import N6ConvertError
    from n6convert.npu import estimate
    from n6convert.recipe import Recipe
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult, Report

__all__ = [
    "ConversionResult",
    "ModelEntry",
    "N6ConvertError",
    "Recipe",
    "Report",
    "__version__",
    "convert",
    "estimate",
    "models",
]

__version__ = "0.1.0"

_HOMES = {
    "ConversionResult": "results",
    "ModelEntry": "registry",
    "N6ConvertError": "errors",
    "Recipe": "recipe",
    "Report": "results",
    "convert": "api",
    "estimate": "npu",
    "models": "api",
}


__getattr__ = first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
