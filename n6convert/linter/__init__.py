"""What ST Edge AI rejects or silently runs in float, each with its remedy."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from n6convert.linter.catalog import limits, limits_of_structure
from n6convert.linter.finding import Finding, Limit, Severity

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.typing import NDArray

    from n6convert.graph.fault import Fault

__all__ = ["Finding", "Limit", "Severity", "finding_of", "hopeless", "limits", "lint"]


def finding_of(fault: Fault) -> Finding:
    """A reason to refuse the file, as a finding: nothing else can be said about such a model."""
    limit = fault.problem if fault.limit is None else f"{fault.problem}; allowed: {fault.limit}"
    found = fault.found or fault.problem
    evidence = "the ONNX specification"
    return Finding(fault.rule, Severity.ERROR, fault.node, fault.tensor, limit, found, fault.remedy, evidence)


def lint(
    model: ir.Model,
    target: str | None = None,
    feeds: Iterable[Mapping[str, NDArray[Any]]] = (),
) -> list[Finding]:
    """Check a model against every limit.

    Args:
        model: float or QDQ graph; not changed.
        target: board and compiler version (``stm32n6570-dk@4.0``); None: the default one.
        feeds: a few inputs by name; given, the values of quantized outputs are looked at as well.

    Returns:
        Findings, errors first, then in graph order.

    Raises:
        GraphError: the model is malformed.
        RecipeError: the target is not known.
    """
    from n6convert.linter.prepare import prepare
    from n6convert.linter.rules_scales import measured

    view = prepare(model, target)
    found = [finding for limit in limits().values() for finding in limit.findings(view)]
    found += measured(model, feeds)
    order = list(Severity)
    return sorted(found, key=lambda finding: order.index(finding.severity))


def hopeless(model: ir.Model, target: str | None = None) -> list[Finding]:
    """Errors of an INT8 model that no other choice of grids mends, in graph order; the quicker part of :func:`lint`.

    Args:
        model: QDQ graph; not changed.
        target: board and compiler version; None: the default one.
    """
    from n6convert.linter.prepare import prepare
    from n6convert.linter.rules_scales import lost_outputs

    view = prepare(model, target)
    found = [finding for limit in limits_of_structure() for finding in limit.findings(view)]
    return [finding for finding in found if finding.severity is Severity.ERROR] + lost_outputs(view)
