from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

import n6convert
from n6convert.errors import GraphError
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.rewrites.loops import write_out_loops
from n6convert.runtime.session import run_model

from .helpers import NEW, OLD, ops, software

F, INT, B = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
STEPS, WIDTH, INPUTS = 6, 8, 5


def info(name: str, kind: int, shape: Sequence[int] | None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def cell() -> list[onnx.NodeProto]:
    """``h' = tanh(step W + h U)`` as Keras' loops have it: the input's part is Gemm's third operand."""
    return [
        helper.make_node("MatMul", ["step", "W"], ["xw"]),
        helper.make_node("Gemm", ["h_in", "U", "xw"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["h_out"]),
    ]


def weights() -> list[onnx.TensorProto]:
    random = np.random.default_rng(0)
    arrays = {"W": random.standard_normal((INPUTS, WIDTH)) * 0.4, "U": random.standard_normal((WIDTH, WIDTH)) * 0.3}
    arrays["h0"] = np.zeros((1, WIDTH))
    return [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]


def built(nodes: list[onnx.NodeProto], outputs: dict[str, list[int]], more: dict[str, Any]) -> ir.Model:
    constants = [*weights(), *(numpy_helper.from_array(np.asarray(a), n) for n, a in more.items())]
    values = [info(n, F, s) for n, s in outputs.items()]
    constants.append(numpy_helper.from_array(np.array([STEPS, 1, INPUTS]), "by_time"))
    nodes = [helper.make_node("Reshape", ["frames", "by_time"], ["x"]), *nodes]
    graph = helper.make_graph(nodes, "loop", [info("frames", F, [1, STEPS, INPUTS])], values, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return ir.from_proto(onnx.shape_inference.infer_shapes(model))


def while_loop(limit: int = STEPS, computed: bool = False, trips: int | None = None) -> ir.Model:
    """A Loop as tf2onnx writes a Keras cell: a counter of its own, compared with the number of steps."""
    body = [
        helper.make_node("Gather", ["x", "count_in"], ["step"], axis=0),
        *cell(),
        helper.make_node("Add", ["count_in", "one"], ["count_out"]),
        helper.make_node("Less", ["count_out", "limit"], ["early"]),
        helper.make_node("ReduceMax", ["h_out"], ["largest"], keepdims=0),
        helper.make_node("Less", ["largest", "two"], ["small"]),
        helper.make_node("And", ["early", "small"] if computed else ["early", "early"], ["go"]),
        helper.make_node("Identity", ["h_out"], ["row"]),
    ]
    inputs = [info("turn", INT, []), info("cond", B, []), info("count_in", INT, []), info("h_in", F, [1, WIDTH])]
    outputs = [info("go", B, []), info("count_out", INT, []), info("h_out", F, [1, WIDTH]), info("row", F, [1, WIDTH])]
    one = numpy_helper.from_array(np.int64(1), "one")
    graph = helper.make_graph(body, "body", inputs, outputs, [one])
    given = ["trips" if trips is not None else "", "start", "zero", "h0"]
    loop = helper.make_node("Loop", given, ["n", "last", "rows"], name="loop", body=graph)
    more = {"start": True, "zero": np.int64(0), "limit": np.int64(limit), "two": np.float32(2)}
    more |= {} if trips is None else {"trips": np.int64(trips)}
    return built([loop], {"last": [1, WIDTH], "rows": [min(limit, trips or limit), 1, WIDTH]}, more)


def scan(backwards: bool) -> ir.Model:
    inputs, outputs = [info("h_in", F, [1, WIDTH]), info("step", F, [1, INPUTS])], ["h_out", "row"]
    body = [*cell(), helper.make_node("Identity", ["h_out"], ["row"])]
    graph = helper.make_graph(body, "body", inputs, [info(n, F, [1, WIDTH]) for n in outputs])
    directions = {"scan_input_directions": [1], "scan_output_directions": [1]} if backwards else {}
    names = ["h0", "x"], ["last", "rows"]
    node = helper.make_node("Scan", *names, name="scan", body=graph, num_scan_inputs=1, **directions)
    return built([node], {"last": [1, WIDTH], "rows": [STEPS, 1, WIDTH]}, {})


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    "model", [while_loop(), while_loop(limit=4), while_loop(limit=50, trips=3), scan(False), scan(True)],
    ids=["while", "shorter", "counted", "scan", "scan backwards"],
)  # fmt: skip
def test_turns_are_written_out(model: ir.Model, target: str) -> None:
    result = rewrite(model, None, RewriteConfig(), target=target)
    assert not {"Loop", "Scan", "Gather"} & ops(result.model).keys() and not software(result.model, target)
    x = {"frames": np.random.default_rng(1).standard_normal((1, STEPS, INPUTS)).astype(np.float32)}
    before, after = run_model(model, x), run_model(result.model, x)
    assert all(np.abs(before[name] - after[name]).max() < 1e-5 for name in ("last", "rows"))


@pytest.mark.parametrize(
    ("model", "most", "why"),
    [
        (while_loop(computed=True), 9, "computed from the network's values"),
        (while_loop(), 5, "turns more than 5 times"),
        (while_loop(limit=1 << 60), 128, "turns more than 128 times"),
        (scan(False), 5, "6 times, more than 5"),
    ],
)
def test_turns_that_are_not_known_or_too_many_are_refused(model: ir.Model, most: int, why: str) -> None:
    with pytest.raises(GraphError, match="cannot be written out") as caught:
        write_out_loops(model, most)
    assert why in str(caught.value.found)


def test_a_network_with_a_loop_converts(tmp_path: Path) -> None:
    ir.save(while_loop(), tmp_path / "m.onnx")
    np.save(tmp_path / "s.npy", np.random.default_rng(0).standard_normal((20, STEPS, INPUTS)).astype(np.float32))
    result = n6convert.convert(
        tmp_path / "m.onnx", output=tmp_path / "out", cache=False,
        settings={"calibration.source": str(tmp_path / "s.npy"), "simplify.onnxsim": False},
    )  # fmt: skip
    assert result.report.placement is not None and result.report.placement.after["epochs"]["sw"] == 0
