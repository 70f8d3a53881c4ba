"""Whether an INT8 model keeps the recipe's accuracy limits, asked between the quantizer's methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from n6convert.pipeline.stages.evaluate import SEEN, Pair, drop_in_points, labeled, metric_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.metrics.base import Score
    from n6convert.pipeline.run import Run
    from n6convert.plugin import Sample

__all__ = ["Accepting"]

#: one labeled sample in so many tells whether the limit on the drop is kept; the others judge the result
_SHARE = 2


class Accepting:
    """The limits of the recipe's ``acceptance`` section that more accuracy methods can help to keep.

    Args:
        reference: the float model.
    """

    def __init__(self, run: Run, reference: ir.Model) -> None:
        self._run = run
        self._reference = reference
        self._limits = run.recipe.acceptance
        self.used: dict[str, str] = {}

    @property
    def limited(self) -> bool:
        """Whether the recipe sets such a limit."""
        return self._limits.min_sqnr_db is not None or self._limits.max_drop is not None

    def __call__(self, model: ir.Model, sqnr_db: Mapping[str, float]) -> bool:
        """Whether the INT8 model keeps them, given the SQNR of its outputs on held-back samples."""
        most = self._limits.max_drop
        return self.keeps_sqnr(sqnr_db) and (most is None or self.drop(model) <= most)

    def keeps_sqnr(self, sqnr_db: Mapping[str, float]) -> bool:
        """Whether the limit on the SQNR is kept, given that of the outputs."""
        least = self._limits.min_sqnr_db
        return least is None or min(sqnr_db.values(), default=0.0) >= least

    def drop(self, model: ir.Model) -> float:
        """Points that the INT8 model loses on labeled samples."""
        return drop_in_points(self._float_score, self._score(model))

    @cached_property
    def _float_score(self) -> Score:
        return self._score(self._reference)

    def _score(self, model: ir.Model) -> Score:
        from n6convert.runtime.session import Session

        session, metric = Session(model), metric_of(self._run)
        pair = Pair(self._run, Session(self._reference) if metric.against_float else session, session)
        for sample in self._samples():
            reference, found = pair.predictions(sample)
            metric.add(replace(sample, label=reference) if metric.against_float else sample, found)
        return metric.score()

    def _samples(self) -> Iterator[Sample]:
        """Labeled samples that calibration did not see, every other one."""
        seen = {h for part in SEEN[:2] for h in self._run.sampling.hashes[part].values()}
        for index, sample in enumerate(labeled(self._run)):
            if index % _SHARE == 0 and sample.sha256 not in seen:
                self.used[sample.id] = sample.sha256
                yield sample
