"""How large a graph may be, and what counts."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper

from n6convert.graph.structure import MAX_NODES, count_faults


def model(kinds: list[str]) -> onnx.ModelProto:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    nodes = [helper.make_node(kind, ["x"], [f"y{i}"]) for i, kind in enumerate(kinds)]
    return helper.make_model(helper.make_graph(nodes, "g", [x], []))


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (["Relu"] * MAX_NODES, None),
        (["Relu"] * (MAX_NODES + 1), MAX_NODES + 1),
        # an INT8 file has a pair of these for every activation, weight and bias
        (["Relu"] * 4_000 + ["QuantizeLinear", "DequantizeLinear"] * 4_000, None),
        (["DequantizeLinear"] * (4 * MAX_NODES), None),
        (["DequantizeLinear"] * (4 * MAX_NODES + 4), MAX_NODES + 1),
    ],
    ids=["most", "one too many", "quantized", "grids alone", "too many grids"],
)
def test_operators_that_only_name_grids_count_as_a_quarter(kinds: list[str], found: int | None) -> None:
    faults = list(count_faults(model(kinds)))
    assert [f.found for f in faults] == ([] if found is None else [f"{found:,}"])
