"""Judging an INT8 model on held-back samples, and keeping only what helps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.numerics import Session

__all__ = ["Judge"]

Sample = Mapping[str, NDArray[Any]]
_PERFECT = 80.0


class Judge:
    """Compares INT8 models with one float model on fixed samples.

    Args:
        model: the float model.
        samples: held back from calibration.
    """

    def __init__(self, model: ir.Model, samples: Sequence[Sample], threads: int | None = None) -> None:
        self._samples = samples
        self._threads = threads
        session = Session(model, threads=threads)
        self._reference = [session.run({n: s[n] for n in session.inputs}) for s in samples]

    def by_output(self, model: ir.Model) -> dict[str, float]:
        """SQNR in dB of each float output over all samples together."""
        session = Session(model, threads=self._threads)
        signal: dict[str, float] = {}
        noise: dict[str, float] = {}
        for sample, reference in zip(self._samples, self._reference, strict=True):
            found = session.run({n: sample[n] for n in session.inputs})
            for name, exact in reference.items():
                if exact.dtype.kind == "f":
                    gap = found[name].astype(np.float64) - exact
                    signal[name] = signal.get(name, 0.0) + float(np.sum(exact.astype(np.float64) ** 2))
                    noise[name] = noise.get(name, 0.0) + float(np.sum(gap**2))
        return {name: _decibel(signal[name], noise[name]) for name in signal}

    def score(self, model: ir.Model) -> float:
        """Mean SQNR of the outputs in dB; what methods are compared by."""
        found = self.by_output(model)
        return float(np.mean([min(v, _PERFECT) for v in found.values()])) if found else _PERFECT


def _decibel(signal: float, noise: float) -> float:
    if noise == 0:
        return _PERFECT
    return float(10 * np.log10(max(signal, 1e-300) / noise))
