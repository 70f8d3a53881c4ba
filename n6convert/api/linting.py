"""``n6convert.lint``: what ST Edge AI refuses of a model file, runs in float or on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.graph.io import faults, model_of, parse
from n6convert.linter import Finding, finding_of
from n6convert.linter import lint as lint_graph

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["lint"]


def lint(model: str | Path | ir.Model, target: str | None = None) -> list[Finding]:
    """Check a model against every limit of ST Edge AI.

    Args:
        model: an ONNX file, float or QDQ, or a graph; not changed. What keeps a file from being read as a model is a
            finding, too, and then the only one.
        target: board and compiler version (``"stm32n6570-dk@4.0"``); None: the default one.

    Returns:
        Findings, errors first, then in graph order; each with limit, found value, remedy and evidence.

    Raises:
        GraphError: a graph is malformed.
        RecipeError: the target is not known.
        UsageError: the file does not exist.
    """
    if not isinstance(model, str | Path):
        return lint_graph(model, target)
    path = Path(model)
    message = parse(path)
    found = faults(message, path)
    return [finding_of(fault) for fault in found] if found else lint_graph(model_of(message, path), target)
