"""Everything that a plugin may import; versioned as a whole by ``API_VERSION``.

This package holds the interface itself. Tools for plugins are modules below it, each imported only where it is needed:

* :mod:`n6convert.plugin.weights`, :mod:`n6convert.plugin.checkpoints`: verified downloads, weight files as arrays;
* :mod:`n6convert.plugin.images`: letterboxes, pixel formats, drawing, the base of image classifiers;
* :mod:`n6convert.plugin.samples`, :mod:`n6convert.plugin.metrics`: labels, and how right a model is on them;
* :mod:`n6convert.plugin.graphs`: running float graphs and other formats as ONNX;
* :mod:`n6convert.plugin.child`: frameworks in a process of their own;
* :mod:`n6convert.plugin.firmware`: the ports of the INT8 model, for generated C.
"""

import warnings

from n6convert.plugin.interface import (
    API_VERSION,
    BuildRequest,
    Firmware,
    FloatModel,
    ModelInfo,
    ModelPlugin,
    PluginError,
    PluginOptions,
    Prediction,
    Sample,
    SampleSource,
    SourceError,
    TensorInfo,
    Weights,
)
from n6convert.types import Feeds, Outputs, Progress

__all__ = [
    "API_VERSION",
    "BuildRequest",
    "Feeds",
    "Firmware",
    "FloatModel",
    "ModelInfo",
    "ModelPlugin",
    "Outputs",
    "PluginError",
    "PluginOptions",
    "Prediction",
    "Progress",
    "Sample",
    "SampleSource",
    "SourceError",
    "TensorInfo",
    "Weights",
]


def __getattr__(name: str) -> object:
    """The old name of :data:`Progress`, for one minor version more."""
    if name != "Report":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("n6convert.plugin.Report is called Progress", DeprecationWarning, stacklevel=2)
    return Progress
