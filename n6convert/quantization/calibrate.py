"""Streaming calibration: one pass over the samples, memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.numerics import Session
from n6convert.quantization.histogram import Histogram
from n6convert.quantization.subgraph import with_outputs

__all__ = ["Feeds", "FeedSource", "Progress", "Statistics", "calibrate"]

Feeds = Mapping[str, NDArray[Any]]
FeedSource = Callable[[], Iterable[Feeds]]
Progress = Callable[[str, int, int | None], None]

#: values of one tensor in one sample that enter its histogram; larger tensors are sampled evenly
HISTOGRAM_VALUES = 1 << 15
_MOVING = 0.01


@dataclass
class Statistics:
    """What is known of one tensor's values.

    Attributes:
        low, high: smallest and largest value, exact.
        moving_low, moving_high: exponential moving average of each sample's smallest and largest value.
        histogram: of all values, or of an even share of them; None when it was not asked for.
        samples: how many samples were seen.
    """

    low: float = np.inf
    high: float = -np.inf
    moving_low: float = 0.0
    moving_high: float = 0.0
    histogram: Histogram | None = None
    samples: int = 0

    def add(self, values: NDArray[np.float32]) -> bool:
        """Take one sample's values; False when they are not all finite."""
        if values.size == 0:
            return True
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            return False
        self.low, self.high = min(self.low, low), max(self.high, high)
        weight = _MOVING if self.samples else 1.0
        self.moving_low += weight * (low - self.moving_low)
        self.moving_high += weight * (high - self.moving_high)
        self.samples += 1
        if self.histogram is not None:
            step = -(-values.size // HISTOGRAM_VALUES)
            self.histogram.add(values.reshape(-1)[::step], max(-low, high, 0.0))
        return True


def calibrate(
    model: ir.Model,
    feeds: FeedSource,
    names: Sequence[str],
    *,
    histograms: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Statistics]:
    """Statistics of the named tensors (graph inputs included) over the samples.

    Raises:
        QuantizationError: no samples, or a tensor that is not finite, named with its sample.
        GraphError: a sample does not fit the model's inputs.
    """
    state = {name: Statistics(histogram=Histogram() if histograms else None) for name in names}
    inputs = {v.name for v in model.graph.inputs}
    wanted = with_outputs(model, [n for n in names if n not in inputs])
    session = Session(wanted, threads=threads, optimize=False)  # fused operators would round differently
    count = 0
    for sample in feeds():
        values = session.run({name: sample[name] for name in session.inputs if name in sample})
        _observe(state, {**sample, **values}, count)
        count += 1
        if progress is not None:
            progress("calibration", count, None)
    if count == 0:
        raise QuantizationError(
            "there are no calibration samples", limit="at least 1", found=0, remedy="check the calibration source"
        )
    return state


def _observe(state: dict[str, Statistics], values: Mapping[str, NDArray[Any]], index: int) -> None:
    for name, statistics in state.items():
        if not statistics.add(values[name]):
            raise QuantizationError(
                "a tensor is not finite during calibration",
                place=f"tensor {name}, sample {index}",
                limit="finite numbers",
                found="NaN or infinity",
                remedy="check the encoding of the samples and the float model on this sample",
            )
