"""Whether an INT8 model keeps the recipe's accuracy limits, asked between the quantizer's methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from n6convert.pipeline.stages.evaluate import SEEN, answers_of, drop_in_points, labeled, metric_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.metrics.base import Score
    from n6convert.pipeline.run import Run
    from n6convert.plugin import Sample
    from n6convert.quantization.weights.narrow_curve import Judged

__all__ = ["Accepting"]

#: one labeled sample in so many tells whether the limit on the drop is kept; the others judge the result
_SHARE = 2
#: bytes of labeled samples that are not read again for every model
_KEPT = 64 << 20


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
        self._kept: list[Sample] = []
        self._known: WeakKeyDictionary[ir.Model, Judged] = WeakKeyDictionary()

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
        return self.judged(model).drop

    def judged(self, model: ir.Model) -> Judged:
        """The same, and on how many; each model is run once."""
        from n6convert.quantization.weights.narrow_curve import Judged

        if model not in self._known:
            score = self._score(model)
            self._known[model] = Judged(drop_in_points(self._float_score, score), score.samples)
        return self._known[model]

    @cached_property
    def _float_score(self) -> Score:
        return self._score(self._reference)

    @cached_property
    def _float_answers(self) -> list[Any]:
        return [answer for _, answer in self._answers(self._reference)]

    def _score(self, model: ir.Model) -> Score:
        metric = metric_of(self._run)
        references = iter(self._float_answers) if metric.against_float else None
        for sample, found in self._answers(model):
            metric.add(sample if references is None else replace(sample, label=next(references)), found)
        return metric.score()

    def _answers(self, model: ir.Model) -> Iterator[tuple[Sample, Any]]:
        from n6convert.runtime.session import Session

        return answers_of(self._run, Session(model, threads=1), self._samples())

    def _samples(self) -> Iterator[Sample]:
        """Labeled samples that calibration did not see, every other one; kept in memory while they are few."""
        if self._kept:
            yield from self._kept
            return
        seen = {h for part in SEEN[:2] for h in self._run.sampling.hashes[part].values()}
        kept: list[Sample] = []
        room = _KEPT
        for index, sample in enumerate(labeled(self._run)):
            if index % _SHARE == 0 and sample.sha256 not in seen:
                self.used[sample.id] = sample.sha256
                room -= _bytes(sample)
                if room >= 0:
                    kept.append(sample)
                else:
                    kept.clear()
                yield sample
        self._kept = kept


def _bytes(sample: Sample) -> int:
    parts = sample.data.values() if isinstance(sample.data, Mapping) else [sample.data]
    return sum(len(part) if isinstance(part, str) else part.nbytes for part in parts)
