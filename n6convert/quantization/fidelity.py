"""Fidelity of an INT8 model to float on held-back samples, without labels.

Methods are compared by *closeness*, an SQNR of saturating errors, not by SQNR itself. An output's squared errors are
ruled by a few elements that are far off: one uncertain sample whose answer flips, the background of a detector. How far
such an element is off makes no difference to the answers, that it is off does. So each element's error counts relative
to the spread of its output and saturates there: ``e^2 / (1 + e^2)``. Small errors count as in SQNR. Rows that stand for
padding do not count.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.padding import tokens_of, without_padding
from n6convert.runtime.comparison import decibel, energy, squared_gaps
from n6convert.runtime.session import Session
from n6convert.runtime.threads import mapped
from n6convert.types import Feeds

__all__ = ["Evaluator", "Fidelity", "closeness_of"]

_PERFECT = 80.0
#: fewer samples than these, and any that ranges were found on, do not show what others reach; dB that a range of
#: twice the width costs
_FEW, _BLIND_DB = 8, 6.0


@dataclass(frozen=True)
class Fidelity:
    """How close an INT8 model is to float.

    Attributes:
        closeness_db: what methods are compared by: the mean over the outputs of their bounded errors, in dB.
        outputs_sqnr_db: SQNR of each float output over all samples together.
        shift_db: by how much closer outputs would be without what their errors have in common over the samples, which
            is what corrected biases can bring; infinite where the samples are too few to tell.
        bounded: number of elements and sum of their bounded errors, ``[sample, output, 2]``.
    """

    closeness_db: float
    outputs_sqnr_db: Mapping[str, float]
    shift_db: float = field(default=math.inf, compare=False)
    bounded: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 0, 2)), compare=False, repr=False)

    @property
    def sqnr_db(self) -> float:
        """Mean SQNR of the outputs."""
        return _mean([min(v, _PERFECT) for v in self.outputs_sqnr_db.values()])


class Evaluator:
    """Compares INT8 models with one float model on fixed samples.

    Args:
        model: the float model.
        samples: what models are run on.
        held_back: whether they are held back from calibration.
    """

    def __init__(
        self, model: ir.Model, samples: Sequence[Feeds], threads: int | None = None, *, held_back: bool = False
    ) -> None:
        self.samples = samples
        self._held_back = held_back
        self._threads = threads
        self._tokens = [tokens_of(model.graph, s) for s in samples]
        self._reference = [
            {k: without_padding(v, t) for k, v in outputs.items()}
            for outputs, t in zip(self._outputs(model), self._tokens, strict=True)
        ]
        names = [n for n, v in self._reference[0].items() if v.dtype.kind == "f"] if self._reference else []
        self._spread = {n: _spread([r[n] for r in self._reference]) for n in names}
        self._energy = {n: sum(energy(r[n]) for r in self._reference) for n in names}

    def _outputs(self, model: ir.Model) -> Iterator[Mapping[str, NDArray[Any]]]:
        """What a model gives for each sample."""
        session = Session(model, threads=1)
        return mapped(session.run_on, self.samples, self._threads)

    @property
    def blind_db(self) -> float:
        """By how much ranges that hold more than these samples reach may look worse and be right."""
        return _BLIND_DB if not self._held_back or len(self.samples) < _FEW else 0.0

    def fidelity(self, model: ir.Model) -> Fidelity:
        """Run the INT8 model on the samples."""
        session = Session(model, threads=1)

        def of_sample(index: int) -> list[_Gaps]:
            return self._gaps(index, session.run_on(self.samples[index]))

        return self._summed(mapped(of_sample, range(len(self.samples)), self._threads))

    def compared(self, outputs: Iterable[Mapping[str, NDArray[Any]]]) -> Fidelity:
        """What something else than an INT8 file gives for the samples, one after the other."""
        return self._summed(self._gaps(index, found) for index, found in enumerate(outputs))

    def _gaps(self, index: int, found: Mapping[str, NDArray[Any]]) -> list[_Gaps]:
        """What one sample's outputs miss."""
        exact, tokens = self._reference[index], self._tokens[index]
        return [_Gaps.of(exact[n], without_padding(found[n], tokens), spread) for n, spread in self._spread.items()]

    def _summed(self, samples: Iterable[Sequence[_Gaps]]) -> Fidelity:
        """The figures of all samples, in their order."""
        noise, shifts = np.zeros(len(self._spread)), [_Shift() for _ in self._spread]
        bounded = np.zeros((len(self.samples), len(self._spread), 2))
        for index, (gaps, tokens) in enumerate(zip(samples, self._tokens, strict=True)):
            for output, gap in enumerate(gaps):
                shifts[output].add(gap, by_channel=tokens is not None)
                noise[output] += gap.noise
                bounded[index, output] = gap.errors.size, gap.bounded
        sqnr = {n: _decibel(self._energy[n], lost) for n, lost in zip(self._spread, noise.tolist(), strict=True)}
        elements = bounded[..., 0].sum(0)
        shift = _mean([s.decibel(noise[i] / elements[i]) for i, s in enumerate(shifts)])
        return Fidelity(float(closeness_of(bounded.sum(0))), sqnr, shift, bounded)

    def score(self, model: ir.Model) -> float:
        """Mean SQNR of the outputs in dB, for comparing tensors with each other."""
        return self.fidelity(model).sqnr_db


@dataclass(frozen=True)
class _Gaps:
    """What one output of one sample misses: its errors, their squares, the sum of these, and of those bounded."""

    errors: NDArray[np.float64]
    squares: NDArray[np.float64]
    noise: float
    bounded: float

    @classmethod
    def of(cls, exact: NDArray[Any], rounded: NDArray[Any], spread: float) -> _Gaps:
        """Compare an output with float, whose values scatter by ``spread``."""
        with np.errstate(invalid="ignore", over="ignore"):
            errors = np.subtract(rounded, exact, dtype=np.float64)
            squares = np.square(errors)
            noise = float(squares.sum())
            if math.isfinite(noise):
                return cls(errors, squares, noise, _bounded(squares, spread))
            gaps = squared_gaps(exact, rounded)
            return cls(errors, squares, float(gaps.sum()), _bounded(gaps, spread))


class _Shift:
    """Mean over the samples of an output's errors, and their variance; of a sequence's by channel."""

    def __init__(self) -> None:
        self._sum: NDArray[np.float64] = np.zeros(1)
        self._square: NDArray[np.float64] = np.zeros(1)
        self._count = 0

    def add(self, gaps: _Gaps, *, by_channel: bool) -> None:
        """Take one sample's errors."""
        errors, squares = gaps.errors, gaps.squares
        with np.errstate(invalid="ignore", over="ignore"):
            if by_channel:
                errors = errors.mean(axis=tuple(range(errors.ndim - 1)))
                squares = np.square(errors)
            self._sum, self._square = self._sum + errors, self._square + squares
        self._count += 1

    def decibel(self, noise: float) -> float:
        """What is lost of the mean squared error without the mean, in dB; the samples' own scatter is no mean."""
        if self._count < _FEW or not (np.isfinite(noise) and np.isfinite(self._square).all()):
            return math.inf
        mean = self._sum / self._count
        scatter = np.maximum(self._square / self._count - mean**2, 0.0) / (self._count - 1)
        share = float(np.mean(mean**2 - scatter)) / max(noise, 1e-30)
        return min(-10 * math.log10(max(1.0 - max(share, 0.0), 1e-30)), _PERFECT)


def closeness_of(bounded: NDArray[np.float64]) -> NDArray[np.float64]:
    """Closeness in dB, of ``[..., output, 2]`` numbers of elements and sums of their bounded errors."""
    if not bounded.shape[-2]:
        return np.full(bounded.shape[:-2], _PERFECT)
    errors = bounded[..., 1] / np.maximum(bounded[..., 0], 1)
    decibels = np.minimum(-10 * np.log10(np.maximum(errors, 1e-30)), _PERFECT)
    return np.asarray(decibels.mean(axis=-1), np.float64)


def _bounded(gaps: NDArray[np.float64], spread: float) -> float:
    """Sum of squared errors relative to the spread, each ``e / (1 + e)``: 1 for an infinite one."""
    with np.errstate(invalid="ignore", over="ignore"):
        errors = np.divide(gaps, spread**2)
        shares = np.divide(errors, errors + 1, out=errors)
    total = float(np.sum(shares))
    return total if math.isfinite(total) else float(np.sum(np.nan_to_num(shares, nan=1.0)))


def _spread(arrays: Sequence[NDArray[Any]]) -> float:
    """Standard deviation of an output's finite values; of a constant one its size."""
    values = np.concatenate([a.ravel() for a in arrays])
    values = values[np.isfinite(values)]
    if not values.size:
        return 1.0
    return float(values.std(dtype=np.float64)) or float(np.abs(values).max(initial=0)) or 1.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else _PERFECT


def _decibel(signal: float, noise: float) -> float:
    return min(decibel(signal, noise), _PERFECT)
