"""The automatic choice of ranges: each tensor gets the candidate that disturbs its consumers least.

Every candidate is tried on a few samples: the tensor alone is rounded to the candidate's grid, and the outputs of the
operators that read it (up to and including the next matrix products) are compared with those of the exact tensor. So
an outlier is kept where a weight makes it matter and clipped where nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import Region, consumer_region, cut
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.ranges.calibrate import Progress
from n6convert.quantization.ranges.estimators import Range
from n6convert.quantization.stable import first_least
from n6convert.quantization.topology.roles import activations
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["choose_ranges"]


def choose_ranges(
    model: ir.Model,
    samples: Sequence[Feeds],
    candidates: Mapping[str, Mapping[str, Range]],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, str]:
    """The name of the best candidate for each tensor.

    Args:
        candidates: by tensor name: range by candidate name; the first one wins where several are equally good.
    """
    order = {node: i for i, node in enumerate(model.graph)}
    by_name = {v.name: v for v in activations(model.graph)}
    regions = {name: consumer_region(by_name[name], order) for name, c in candidates.items() if len(c) > 1}
    errors = {name: np.zeros(len(candidates[name])) for name in regions}
    needed = {v.name or "" for r in regions.values() for v in (r.value, *r.others, *r.sinks)}
    inputs = {v.name for v in model.graph.inputs}
    inner = sorted(needed - inputs)
    reference = Session(model, inner, threads=threads) if inner else None
    trials = {name: _Trial(model, region, threads) for name, region in regions.items()}
    for index, sample in enumerate(samples):
        values = dict(sample)
        if reference is not None:
            values |= reference.run_on(sample)
        for name, trial in trials.items():
            errors[name] += trial.errors(values, list(candidates[name].values()))
        if progress is not None:
            progress("choosing ranges", index + 1, len(samples))
    return {
        name: list(options)[first_least(errors[name]) if name in errors else 0] for name, options in candidates.items()
    }


class _Trial:
    """Runs a tensor's consumers on rounded versions of it."""

    def __init__(self, model: ir.Model, region: Region, threads: int | None) -> None:
        self.name = region.value.name or ""
        self.sinks = [v.name or "" for v in region.sinks]
        self.own = [v.name or "" for v in region.sinks if v is not region.value]
        self.session: Session | None = None
        if self.own:
            part = cut(
                model, region.nodes, [region.value, *region.others], [v for v in region.sinks if v is not region.value]
            )
            self.session = Session(part, threads=threads)

    def errors(self, values: Mapping[str, NDArray[Any]], ranges: Sequence[Range]) -> NDArray[np.float64]:
        """Squared error at the sinks relative to their energy, summed over the sinks, for each range."""
        exact = values[self.name]
        return np.array([self._error(values, Grid.from_range(*span).round(exact)) for span in ranges])

    def _error(self, values: Mapping[str, NDArray[Any]], rounded: NDArray[np.float32]) -> float:
        found: dict[str, NDArray[Any]] = {self.name: rounded}
        if self.session is not None:
            feeds = {n: rounded if n == self.name else values[n] for n in self.session.inputs}
            found |= self.session.run(feeds)
        return sum(_relative_error(values[name], found[name]) for name in self.sinks)


def _relative_error(exact: NDArray[Any], other: NDArray[Any]) -> float:
    gap = (other - exact).ravel().astype(np.float32)
    flat = exact.ravel()
    return float(np.dot(gap, gap)) / max(float(np.dot(flat, flat)), 1e-20)
