"""Small seeded networks for the tests of tuning."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from ..quantization.nets import cnn, feeds, parse

__all__ = ["cnn", "deep", "feeds", "parse", "smooth", "weights_of"]


def weights_of(shapes: Mapping[str, tuple[int, ...]], seed: int = 5) -> dict[str, NDArray[np.float32]]:
    """Normal weights of these shapes, so large that layers keep the size of their input."""
    rng = np.random.default_rng(seed)
    sizes = {name: max(int(np.prod(shape[1:])), 1) for name, shape in shapes.items()}
    return {n: (rng.standard_normal(s) / np.sqrt(sizes[n])).astype(np.float32) for n, s in shapes.items()}


def smooth(count: int, seed: int = 0) -> list[dict[str, NDArray[np.float32]]]:
    """Samples for :func:`deep` in which neighbors are alike, as in images: rounding errors can then cancel."""
    draw = np.random.default_rng(seed)
    waves = np.cos(np.outer(np.arange(12), np.pi * np.arange(3) / 12))
    shares = draw.standard_normal((count, 1, 3, 3, 3))
    return [{"x": np.einsum("yi,xj,ncij->ncyx", waves, waves, share).astype(np.float32) / 2} for share in shares]


def deep() -> ir.Model:
    """Residual blocks of convolutions with a Swish, and a classifier behind them: four bits hurt it."""
    shapes = {"stem": (16, 3, 3, 3), "b_stem": (16,), "head": (6, 16), "b_head": (6,)}
    lines, last = [], "x0"
    for i in range(3):
        shapes |= {f"w{i}": (16, 16, 3, 3), f"b{i}": (16,)}
        lines.append(
            f"c{i} = Conv<pads=[1,1,1,1]>({last}, w{i}, b{i})\n s{i} = Sigmoid(c{i})\n m{i} = Mul(c{i}, s{i})\n"
            f"x{i + 1} = Add({last}, m{i})"
        )
        last = f"x{i + 1}"
    body = f"""
    net (float[1,3,12,12] x) => (float[1,6] y) {{
      x0 = Conv<pads=[1,1,1,1], strides=[2,2]>(x, stem, b_stem)
      {chr(10).join(lines)}
      g = GlobalAveragePool({last})
      f = Flatten(g)
      y = Gemm<transB=1>(f, head, b_head)
    }}"""
    return parse(body, **weights_of(shapes))
