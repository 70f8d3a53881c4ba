"""The models of ONNX's own operator tests: valid by definition, one operator each or a few."""

from __future__ import annotations

import importlib
import pkgutil
import warnings
from functools import cache

import onnx
import onnx.backend.test.case.node as cases

#: modules that compute for seconds when they are imported
_SLOW = {"averagepool", "maxpool"}


@cache
def operator_models() -> dict[str, onnx.ModelProto]:
    """By name of the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in pkgutil.iter_modules(cases.__path__):
            if module.name not in _SLOW:
                importlib.import_module(f"{cases.__name__}.{module.name}")
    return {case.name: case.model for case in cases._NodeTestCases if case.model is not None}
