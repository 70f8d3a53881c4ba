"""Convert neural networks for the STM32N6 NPU.

``convert`` does the whole job, ``tune`` does it with training, ``estimate`` predicts placement, memory and time of a
quantized model, ``models`` lists what is installed; ``rewrite``, ``quantize``, ``lint``, ``debug``, ``compare``,
``sweep`` and ``fit`` do what the commands of these names do. Everything is loaded when it is first used, so that
importing the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from n6convert.lazy import first_use, postpone
from n6convert.moved import watch

if TYPE_CHECKING:
    from n6convert.api import Diagnosis, compare, convert, debug, lint, models, quantize, rewrite, tune
    from n6convert.errors import N6ConvertError
    from n6convert.fitting import Fit, fit
    from n6convert.npu import estimate
    from n6convert.npu.ends import Ends
    from n6convert.npu.options import CompilerOptions
    from n6convert.recipe.schema import Recipe
    from n6convert.registry import ModelEntry
    from n6convert.results import ConversionResult, Report
    from n6convert.sweeps import PointResult, sweep
    from n6convert.version import __version__

__all__ = [
    "CompilerOptions",
    "ConversionResult",
    "Diagnosis",
    "Ends",
    "Fit",
    "ModelEntry",
    "N6ConvertError",
    "PointResult",
    "Recipe",
    "Report",
    "__version__",
    "compare",
    "convert",
    "debug",
    "estimate",
    "fit",
    "lint",
    "models",
    "quantize",
    "rewrite",
    "sweep",
    "tune",
]

_HOMES = {
    "__version__": "version",
    "CompilerOptions": "npu.options",
    "ConversionResult": "results",
    "Diagnosis": "api",
    "Ends": "npu.ends",
    "Fit": "fitting",
    "ModelEntry": "registry",
    "N6ConvertError": "errors",
    "PointResult": "sweeps",
    "Recipe": "recipe",
    "Report": "results",
    "compare": "api",
    "convert": "api",
    "debug": "api",
    "estimate": "npu",
    "fit": "fitting",
    "lint": "api",
    "models": "api",
    "quantize": "api",
    "rewrite": "api",
    "sweep": "sweeps",
    "tune": "api",
}


watch()
for _module in ("sympy", "onnx_ir._symbolic_shapes"):  # a quarter of a second, for dimensions that only have names
    postpone(_module)
__getattr__ = first_use(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
