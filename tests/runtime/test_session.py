"""Sessions over models in memory: large weights are lent, which changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError
from n6convert.runtime import session as sessions
from n6convert.runtime.session import Session, run_model

BODY = """<ir_version: 8, opset_import: ["" : 17]>
net (float[2,64] x) => (float[2,8,4] y, float[2,64] z) {
  a = MatMul(x, w)
  r = Relu(a)
  y = Reshape(r, s)
  c = ReduceMax<keepdims=0>(x)
  b = Greater(c, zero)
  z = If(b) <
    then_branch = yes () => (float[2,64] t) { t = Add(x, v) },
    else_branch = no () => (float[2,64] e) { e = Neg(x) }
  >
}"""


def model() -> ir.Model:
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((64, 32), np.float32), "v": rng.standard_normal(64, np.float32)}
    return network(BODY, arrays | {"s": np.array([2, 8, 4]), "zero": np.zeros((), np.float32)})


def network(text: str, arrays: dict[str, np.ndarray]) -> ir.Model:
    made = ir.from_proto(onnx.parser.parse_model(text))
    for name, array in arrays.items():
        value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
        value.type, value.shape = ir.TensorType(value.const_value.dtype), value.const_value.shape
        for node in made.graph.all_nodes():
            for index, old in enumerate(node.inputs):
                if old is not None and old.name == name:
                    node.replace_input_with(index, value)
        made.graph.register_initializer(value)
    return made


SAMPLE = {"x": np.random.default_rng(1).standard_normal((2, 64)).astype(np.float32)}


def expected() -> dict[str, np.ndarray]:
    return run_model(model(), SAMPLE)


@pytest.mark.parametrize("reordered", [True, False])
def test_lent_weights_give_the_same(reordered: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted, lender = expected(), model()
    monkeypatch.setattr(sessions, "_LENT_FROM", 1)
    if not reordered:
        monkeypatch.setattr(sessions, "_NOT_REORDERED_FROM", 1)
    found = run_model(lender, SAMPLE)
    assert all(np.allclose(found[n], wanted[n], rtol=1e-5, atol=1e-6) for n in wanted)
    assert not any(isinstance(v.const_value, ir.ExternalTensor) for v in lender.graph.initializers.values())


def test_sizes_that_shapes_follow_from_are_not_lent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Split into more parts than a small tensor holds."""
    parts = 40
    outputs = ", ".join(f"p{i}" for i in range(parts))
    text = f"""<ir_version: 8, opset_import: ["" : 17]> net (float[2,{parts}] x) => (float[2,1] y)
        {{ {outputs} = Split <axis = 1> (x, sizes)
           y = Mul(p0, p{parts - 1}) }}"""
    made = network(text, {"sizes": np.ones(parts, np.int64)})
    monkeypatch.setattr(sessions, "_LENT_FROM", 1)
    x = np.arange(2 * parts, dtype=np.float32).reshape(2, parts)
    np.testing.assert_array_equal(run_model(made, {"x": x})["y"][:, 0], x[:, 0] * x[:, -1])


def test_lent_weights_stay_as_they_are_where_transposes_move(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime would move the first Transpose behind the sum, and write the weight's transpose under its name."""
    text = """<ir_version: 8, opset_import: ["" : 17]> net (float[1,4,8,6] x) => (float[1,4,8,6] y)
        { t = Transpose <perm = [0, 2, 3, 1]> (x)
          a = Add(t, w)
          y = Transpose <perm = [0, 3, 1, 2]> (a) }"""
    rng = np.random.default_rng(0)
    w, x = rng.standard_normal((8, 6, 4), np.float32), rng.standard_normal((1, 4, 8, 6), np.float32)
    monkeypatch.setattr(sessions, "_LENT_FROM", 1)
    np.testing.assert_array_equal(run_model(network(text, {"w": w}), {"x": x})["y"], x + w.transpose(2, 0, 1))


def test_weights_in_a_file_are_lent_wherever_they_begin(tmp_path: Path) -> None:
    """The second tensor begins at an odd place, where no float may lie in memory."""
    wanted, made = expected(), model()
    file, place = tmp_path / "weights.bin", 3
    with file.open("wb") as stream:
        stream.write(b"odd")
        for name, value in made.graph.initializers.items():
            array = value.const_value.numpy()
            stream.write(array.tobytes())
            value.const_value = ir.ExternalTensor(
                file.name, place, array.nbytes, value.const_value.dtype,
                shape=ir.Shape(array.shape), name=name, base_dir=str(tmp_path),
            )  # fmt: skip
            place += array.nbytes
    found = run_model(made, SAMPLE)
    assert all(np.allclose(found[n], wanted[n], rtol=1e-5, atol=1e-6) for n in wanted)


def test_a_session_outlives_the_model_whose_weights_it_borrows(monkeypatch: pytest.MonkeyPatch) -> None:
    import gc

    wanted = expected()
    monkeypatch.setattr(sessions, "_LENT_FROM", 1)
    monkeypatch.setattr(sessions, "_NOT_REORDERED_FROM", 1)
    session = Session(model())
    gc.collect()
    junk = [np.full((64, 32), np.nan, np.float32) for _ in range(200)]
    assert np.allclose(session.run(SAMPLE)["y"], wanted["y"], rtol=1e-5, atol=1e-6) and len(junk) == 200


@pytest.mark.parametrize("lent", [True, False])
def test_inner_tensors_come_without_what_lies_behind_them(lent: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "_LENT_FROM", 1 if lent else 1 << 40)
    text = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[2,64] x) => (float[2,5] y) {
      a = MatMul(x, w)
      r = Relu(a)
      y = MatMul(r, v)
    }"""
    rng = np.random.default_rng(0)
    arrays = {
        n: rng.standard_normal(s, np.float32) for n, s in {"w": (64, 32), "v": (32, 5), "unread": (64, 64)}.items()
    }
    made, x = network(text, arrays), rng.standard_normal((2, 64), np.float32)
    y = np.maximum(x @ arrays["w"], 0) @ arrays["v"]
    np.testing.assert_allclose(Session(made).run({"x": x})["y"], y, rtol=1e-4, atol=1e-4)
    made.graph[2].op_type = "Unheard"  # would not run
    found = Session(made, ["r", "a"]).run({"x": x})
    assert list(found) == ["r", "a"]
    np.testing.assert_allclose(found["a"], x @ arrays["w"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(found["r"], np.maximum(found["a"], 0))
    with pytest.raises(GraphError):
        Session(made, ["nothing"])


@pytest.mark.parametrize("quantized", [True, False])
def test_only_float_graphs_are_optimized(quantized: bool) -> None:
    """Operators on codes are as they should be already."""
    import onnxruntime

    pair = "c = QuantizeLinear(x, s)  y = DequantizeLinear(c, s)" if quantized else "y = Mul(x, s)"
    text = f'<ir_version: 8, opset_import: ["" : 17]> net (float[2,64] x) => (float[2,64] y) {{ {pair} }}'
    level = Session(network(text, {"s": np.float32(0.5)}))._session.get_session_options().graph_optimization_level
    levels = onnxruntime.GraphOptimizationLevel
    assert level == (levels.ORT_DISABLE_ALL if quantized else levels.ORT_ENABLE_ALL)
