"""The smallest conversion: one convolution, six samples; for inputs that are not about the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .networks import NETWORKS

__all__ = ["convert_command", "write_small"]


def write_small(folder: Path) -> None:
    """``m.onnx`` with its ``samples.npz``."""
    model = NETWORKS[0]()
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    np.savez(folder / "samples.npz", x=np.random.default_rng(0).standard_normal((6, *shape[1:]), np.float32))


def convert_command(output: str, *more: str, calibration: str = "samples.npz", kind: str = "arrays") -> list[str]:
    """Convert it with few samples, without onnxsim and without a word."""
    given = ["--calibration", calibration, "--set", f"options.samples={kind}", "--set", "options.range=0..1"]
    return ["m.onnx", *given, "--set", "simplify.onnxsim=false", "--samples", "4", "--quiet", "--output", output, *more]
