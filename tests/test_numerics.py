"""Sessions over models in memory: large weights are lent, which changes nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from n6convert import numerics
from n6convert.numerics import LIMIT_DB, Noise, Session, least_sizes, max_relative_difference, run_model

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
    made = ir.from_proto(onnx.parser.parse_model(BODY))
    rng = np.random.default_rng(0)
    arrays = {"w": rng.standard_normal((64, 32), np.float32), "v": rng.standard_normal(64, np.float32)}
    arrays |= {"s": np.array([2, 8, 4]), "zero": np.zeros((), np.float32)}
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
    monkeypatch.setattr(numerics, "_LENT_FROM", 1)
    if not reordered:
        monkeypatch.setattr(numerics, "_NOT_REORDERED_FROM", 1)
    found = run_model(lender, SAMPLE)
    assert all(np.allclose(found[n], wanted[n], rtol=1e-5, atol=1e-6) for n in wanted)
    assert not any(isinstance(v.const_value, ir.ExternalTensor) for v in lender.graph.initializers.values())


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
    monkeypatch.setattr(numerics, "_LENT_FROM", 1)
    monkeypatch.setattr(numerics, "_NOT_REORDERED_FROM", 1)
    session = Session(model())
    gc.collect()
    junk = [np.full((64, 32), np.nan, np.float32) for _ in range(200)]
    assert np.allclose(session.run(SAMPLE)["y"], wanted["y"], rtol=1e-5, atol=1e-6) and len(junk) == 200


@pytest.mark.parametrize(
    ("body", "bounded"),
    [
        ("{ s = Sigmoid (x) t = Softmax (x) y = Concat <axis = 1> (s, t) }", True),
        ("{ s = Tanh (x) y = Transpose <perm = [1, 0]> (s) }", True),
        ("{ s = Sigmoid (x) y = Concat <axis = 1> (s, x) }", False),
        ("{ s = Sigmoid (x) y = Mul (s, x) }", False),
    ],
)
def test_differences_of_bounded_outputs_are_measured_by_an_int8_step_at_least(body: str, bounded: bool) -> None:
    head = '<ir_version: 8, opset_import: ["" : 17]> g (float[2,64] x) => (float y) '
    least = least_sizes(ir.from_onnx_text(head + body))
    assert least == ({"y": 1 / 256} if bounded else {})
    nothing, rounding = np.zeros(4, np.float32), np.full(4, 6e-8, np.float32)
    assert (max_relative_difference(nothing, rounding, least.get("y", 1e-12)) < 1e-4) == bounded


HUGE, INF, NAN = 1e200, np.inf, np.nan


@pytest.mark.parametrize(
    ("reference", "other", "db"),
    [
        ([0, 0], [0, 0], INF),
        ([0, 0], [1, 0], -LIMIT_DB),  # noise without a signal
        ([1, 2], [INF, 2], -LIMIT_DB),
        ([1, 2], [NAN, 2], -LIMIT_DB),
        ([INF, 2], [INF, 2], INF),  # a mask's infinities are no difference
        ([NAN, -INF, 3], [NAN, -INF, 3.3], 20.0),
        ([INF, 2], [5, 2], -LIMIT_DB),
        ([HUGE, 1], [HUGE, 2], LIMIT_DB),  # energies that overflow, one way and the other
        ([1, 1], [HUGE, 1], -LIMIT_DB),
        ([10, 0], [9, 0], 20.0),
        ([], [], INF),
    ],
)
def test_no_pair_of_arrays_breaks_a_measure(reference: list[float], other: list[float], db: float) -> None:
    a, b = np.array(reference, np.float64), np.array(other, np.float64)
    assert numerics.sqnr_db(a, b) == pytest.approx(db)
    noise = Noise()
    noise.add(a, b)
    assert noise.sqnr_db == (None if db == INF else pytest.approx(db))


@pytest.mark.parametrize("signal", [0.0, 5e-324, 1.0, 1e308, INF, NAN])
@pytest.mark.parametrize("noise", [0.0, 5e-324, 1.0, 1e308, INF, NAN])
def test_every_ratio_is_a_bounded_number(signal: float, noise: float) -> None:
    found = numerics.decibel(signal, noise)
    assert found == INF if noise == 0 else abs(found) <= LIMIT_DB
