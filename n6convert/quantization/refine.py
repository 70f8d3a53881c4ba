"""Refining an INT8 model on samples: rounding and bias correction in one walk over its layers."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.quantization.bias_correction import channel_means, correct_bias
from n6convert.quantization.calibrate import Progress
from n6convert.quantization.normalize import constant
from n6convert.quantization.rounding import round_layer
from n6convert.quantization.walk import LAYERS, walk_layers

__all__ = ["refine"]


def refine(
    float_model: ir.Model,
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    *,
    rounding: bool,
    bias: bool,
    deadline: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> ir.Model:
    """A copy of the INT8 model with its weights rounded anew and its biases corrected, layer after layer.

    Args:
        samples: gone through twice; none but their int8 codes is kept.
        deadline: ``time.monotonic()`` after which weights are no longer rounded anew.
    """
    model = model.clone()
    weights = {n.name: n.inputs[1] for n in float_model.graph if n.op_type in LAYERS}
    means = channel_means(float_model, samples, threads) if bias else {}
    for index, layer in enumerate(walk_layers(model, samples, threads)):
        if rounding and (deadline is None or time.monotonic() < deadline):
            round_layer(layer, constant(weights[layer.name]))
        if layer.name in means:
            correct_bias(layer, means[layer.name])
        if progress is not None:
            progress("refining layers", index + 1, None)
    return model
