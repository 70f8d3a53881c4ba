"""Evidence about a graph from real samples: what it answers, and what its tensors hold."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.graph.query import is_float, shape_of
from n6convert.runtime.comparison import least_sizes, relative_differences
from n6convert.runtime.session import Session
from n6convert.types import Feeds

__all__ = ["Proof"]

Array = NDArray[Any]
_SAMPLES = 3


class Proof:
    """Compares a graph with the answers of the one it started from.

    Args:
        model: the graph whose answers are the reference.
        feeds: makes a fresh iterable of inputs; the first few are used. None: one seeded random sample.
        threads: threads inside operators; default :func:`n6convert.runtime.threads.default_threads`.
    """

    def __init__(
        self, model: ir.Model, feeds: Callable[[], Iterable[Feeds]] | None, threads: int | None = None
    ) -> None:
        taken = [] if feeds is None else [dict(f) for f in islice(feeds(), _SAMPLES)]
        self.samples: list[dict[str, Array]] = taken or [_random_feeds(model)]
        self._threads = threads
        self._least = least_sizes(model)
        self.reference = self._answers(model)

    def difference(self, model: ir.Model) -> float:
        """Largest difference of any output on any sample, relative to that output's range."""
        return self.distance(self.reference, model)

    def accept(self, model: ir.Model) -> None:
        """Make the answers of a graph the new reference (after an approximate rule)."""
        self.reference = self._answers(model)

    def distance(self, reference: list[dict[str, Array]], model: ir.Model) -> float:
        """As :meth:`difference`, against other answers."""
        pairs = zip(reference, self._answers(model), strict=True)
        return max((gap for a, b in pairs for gap in relative_differences(a, b, self._least).values()), default=0.0)

    def values(self, model: ir.Model, names: Sequence[str]) -> dict[str, list[Array]]:
        """Arrays of inner tensors, one for each sample."""
        made = {v.name for n in model.graph for v in n.outputs}
        part = with_outputs(model, [n for n in names if n in made])
        session = Session(part, threads=self._threads, optimize=False, last_use=True)
        found: dict[str, list[Array]] = {n: [] for n in names}
        for sample in self.samples:
            for name, array in session.run_on(sample).items():
                found[name].append(array)
            for name in set(names) & set(sample):
                found[name].append(sample[name])
        return found

    def _answers(self, model: ir.Model) -> list[dict[str, Array]]:
        session = Session(model, threads=self._threads)
        return [session.run(sample) for sample in self.samples]


def _random_feeds(model: ir.Model, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        full = shape_of(value) or ()
        data = random.standard_normal(full).astype(np.float32)
        feeds[str(value.name)] = data if is_float(value) else np.ones(full, _numpy(value))
    return feeds


def _numpy(value: ir.Value) -> np.dtype[Any]:
    return np.dtype(value.dtype.numpy()) if value.dtype is not None else np.dtype(np.float32)
