"""Constants that are put into a graph."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.graph.initializers import add_initializer


@pytest.mark.parametrize(
    "array", [np.array(0.5, np.float32), np.arange(6, dtype=np.int8).reshape(3, 2).T, np.zeros(0, np.int64)]
)
def test_a_constant_keeps_its_numbers_shape_and_type(array: np.ndarray) -> None:
    graph = ir.Graph([], [], nodes=[], name="g")
    value = add_initializer(graph, "c", array)
    assert graph.initializers["c"] is value and value.const_value is not None
    assert value.shape == array.shape and value.const_value.numpy().dtype == array.dtype
    assert np.array_equal(value.const_value.numpy(), array)
