"""``STFT`` of a real signal as a Conv: every frame is multiplied by the windowed cosines and sines of its bins.

``X[t, k] = sum_n w[n] x[t s + n] exp(-2 pi i k n / N)``: real and imaginary part of K bins are 2 K kernels of N samples
with stride s. ST's import knows no STFT ([#onnx-operators]).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.spectrum import fourier_matrix
from n6convert.graph.query import constant_of, is_float, shape_of
from n6convert.rewrites.rule import Context, Rewrite

__all__ = ["StftToConv"]


@dataclass
class _Stft:
    signal: ir.Value
    result: tuple[int, ...]
    step: int
    window: NDArray[Any] | None


class StftToConv(Rewrite[_Stft]):
    """Write STFT with a constant window as a Conv over the signal."""

    name = "stft-to-conv"
    roots = frozenset({"STFT"})
    housekeeping = True

    def pattern(self, node: ir.Node) -> _Stft | None:
        signal, given, step, result = (
            node.inputs[0],
            shape_of(node.inputs[0]),
            node.inputs[1],
            shape_of(node.outputs[0]),
        )
        known = signal is not None and is_float(signal) and given is not None and result is not None
        hop = constant_of(step) if step is not None else None
        if not known or hop is None or len(result or ()) != 4:
            return None
        assert signal is not None and result is not None
        return _Stft(signal, result, int(hop.ravel()[0]), _window(node))

    def check(self, found: _Stft, context: Context) -> str | None:
        if found.window is None:
            return "its window is computed by the network"
        full = shape_of(found.signal) or ()
        return "its signal is complex" if len(full) == 3 and full[2] != 1 else None

    def replace(self, found: _Stft, build: Builder, context: Context) -> Sequence[ir.Value]:
        assert found.window is not None
        batch, frames, bins, _ = found.result
        size = len(found.window)
        matrix = fourier_matrix(size, 1, bins)[:, 0].transpose(2, 1, 0) * found.window  # [2, bins, size]
        samples = (shape_of(found.signal) or ())[1]
        line = build.reshape(found.signal, [batch, 1, samples])
        kernel = build.constant(matrix.reshape(2 * bins, 1, size))
        shape = [batch, 2 * bins, frames]
        spectra = build.node("Conv", [line, kernel], [shape], kernel_shape=[size], strides=[found.step])[0]
        return [build.transpose(build.reshape(spectra, [batch, 2, bins, frames]), [0, 3, 2, 1])]


def _window(node: ir.Node) -> NDArray[Any] | None:
    """The factors of a frame's samples; None where the network computes them."""
    window, length = (node.inputs[i] if len(node.inputs) > i else None for i in (2, 3))
    if window is not None:
        return constant_of(window)
    size = constant_of(length) if length is not None else None
    return None if size is None else np.ones(int(size.ravel()[0]))
