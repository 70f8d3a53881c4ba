"""One TFLite file in, numbers out: what the importer makes of it, run by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_writer import LiteWriter

from n6convert.importers.tflite_onnx import tflite_model
from n6convert.runtime.session import run_model

Arrays = Sequence[np.ndarray]


@pytest.fixture(params=[False, True], ids=["as it is", "channel-first"])
def computed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., np.ndarray]:
    """``computed(kind, data, shape, constants=, options=)`` runs one operator, in both layouts of the graph.

    A convolution beside it makes the importer keep everything channel-first; the numbers must be the same.
    """

    def run(
        kind: str,
        data: Arrays,
        shape: Sequence[int],
        constants: Arrays = (),
        options: Any = None,
        dtype: str = "float32",
        order: Sequence[int] | None = None,
    ) -> np.ndarray:
        w = LiteWriter()
        inputs = [w.tensor(f"x{i}", value.shape, str(value.dtype)) for i, value in enumerate(data)]
        fixed = [w.constant(f"c{i}", value) for i, value in enumerate(constants)]
        y = w.tensor("y", shape, dtype)
        operands = [*inputs, *fixed]
        w.op(kind, [operands[i] for i in order] if order else operands, [y], options)
        w.inputs, w.outputs = list(inputs), [y]
        if request.param:
            side, weights = w.tensor("side", (1, 2, 2, 2)), w.constant("w", np.ones((2, 1, 1, 2), np.float32))
            end = w.tensor("end", (1, 2, 2, 2))
            w.op("CONV_2D", [side, weights], [end], {1: ("i32", 1), 2: ("i32", 1)})
            w.inputs.append(side)
            w.outputs.append(end)
        model = tflite_model(w.write(tmp_path / "a.tflite"))
        feeds = {f"x{i}": value for i, value in enumerate(data)}
        if request.param:
            feeds["side"] = np.ones((1, 2, 2, 2), np.float32)
        return np.asarray(run_model(model, feeds)["y"])

    return run
