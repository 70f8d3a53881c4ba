from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import n6convert
from n6convert.errors import QuantizationError
from n6convert.graph.query import shape_of
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import Session

from .cells import GATES, add_cell, keyword_spotter, random_cell
from .graphs import GraphWriter
from .helpers import NEW, OLD, apply, ops, reasons, software

#: onnxsim runs in a child process, which these tests need not wait for
FAST = {"simplify.onnxsim": False}


@pytest.mark.parametrize("start", range(0, 40, 10))
def test_any_cell_is_its_steps(start: int) -> None:
    for seed in range(start, start + 10):
        result = apply(random_cell(seed), "unroll-recurrent")
        assert not GATES.keys() & ops(result.model).keys(), seed


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize("op", GATES)
def test_everything_runs_on_the_npu(op: str, target: str) -> None:
    model = keyword_spotter(op, bins=10, frames=6, width=16)
    assert any(key.startswith(op) for key in software(model, target))
    result = rewrite(model, None, RewriteConfig(), target=target)
    assert not software(result.model, target)
    assert result.before is None and result.after is not None, "no time stands for what the compiler refuses"


@pytest.mark.parametrize("directions", [1, 2])
def test_two_layers_with_all_states_as_outputs_run_on_the_npu(directions: int) -> None:
    g = GraphWriter()
    x = g.input("x", [5, 1, 12])
    first = add_cell(g, "LSTM", x, (5, 1, 12, 8, directions))
    joined = g.reshape(g.node("Transpose", first[0], perm=[0, 2, 1, 3]), [5, 1, 8 * directions])
    model = g.model(*add_cell(g, "LSTM", joined, (5, 1, 8 * directions, 8, directions)), first[1])
    result = rewrite(model, None, RewriteConfig(), target=NEW)
    assert not software(result.model, NEW) and not GATES.keys() & ops(result.model).keys()


def test_all_steps_read_one_set_of_weights() -> None:
    result = apply(keyword_spotter("GRU", bins=10, frames=9, width=16), "unroll-recurrent")
    recurrent = [v for v in result.model.graph.initializers.values() if shape_of(v) in {(32, 16, 1, 1), (16, 16, 1, 1)}]
    assert len(recurrent) == 2 and ops(result.model)["Conv"] == 2 + 2 * 8


def test_one_step_keeps_its_states_as_inputs_and_outputs() -> None:
    g = GraphWriter()
    x, h, c = g.input("x", [1, 1, 20]), g.input("h", [1, 1, 16]), g.input("c", [1, 1, 16])
    model = g.model(*add_cell(g, "LSTM", x, (1, 1, 20, 16, 1), [h, c])[1:])
    result = apply(model, "unroll-recurrent")
    assert [v.name for v in result.model.graph.inputs] == ["x", "h", "c"]
    assert [shape_of(v) for v in result.model.graph.outputs] == [(1, 1, 16)] * 2
    assert ops(result.model)["Conv"] == 4 and not {"Slice", "Concat"} & ops(result.model).keys()
    assert not software(result.model, OLD)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lengths": [3]}, "sequence_lens [3] are shorter than the 4 steps"),
        ({"lengths": "computed"}, "sequence_lens is computed"),
        ({"activations": ["Softsign", "Tanh"]}, "the activation Softsign has no form on the NPU"),
    ],
)
def test_what_is_not_known_before_is_refused(options: dict[str, object], reason: str) -> None:
    g = GraphWriter()
    x = g.input("x", [4, 1, 5])
    if options.get("lengths") == "computed":
        largest = g.node("Clip", g.reshape(g.node("ReduceMax", x), [1]), g.constant(1.0), g.constant(4.0))
        options = {"lengths": g.node("Cast", largest, to=int(ir.DataType.INT32))}
    result = apply(g.model(add_cell(g, "GRU", x, (4, 1, 5, 3, 1), **options)[0]), "unroll-recurrent")
    assert reason in reasons(result, "unroll-recurrent") and ops(result.model)["GRU"] == 1


def test_more_steps_than_the_recipe_allows_are_refused() -> None:
    model = keyword_spotter("RNN", bins=4, frames=9, width=4)
    refused = reasons(apply(model, "unroll-recurrent", recurrent_steps=8), "unroll-recurrent")
    assert "9 steps" in refused and "the limit is 8" in refused and "states as inputs and outputs" in refused
    assert "RNN" not in ops(apply(model, "unroll-recurrent", recurrent_steps=9).model)


def test_a_conversion_says_why_a_cell_was_left(tmp_path: Path) -> None:
    ir.save(keyword_spotter("RNN", bins=4, frames=9, width=4), tmp_path / "kws.onnx")
    with pytest.raises(QuantizationError) as caught:
        n6convert.convert(
            tmp_path / "kws.onnx", output=tmp_path / "out", cache=False, settings=FAST | {"rewrite.recurrent_steps": 8}
        )
    assert caught.value.stage == "rewrite" and "RNN: 9 steps" in str(caught.value.found)


@pytest.mark.parametrize("op", GATES)
def test_a_keyword_spotter_converts_and_leaves_nothing_to_the_cpu(op: str, tmp_path: Path) -> None:
    ir.save(keyword_spotter(op, bins=40, frames=8, width=24), tmp_path / "kws.onnx")
    random = np.random.default_rng(0)
    frames = np.log(random.gamma(1.0, size=(12, 1, 40, 8)) + 0.1).astype(np.float32)
    (tmp_path / "samples").mkdir()
    for index, sample in enumerate(frames):
        np.save(tmp_path / "samples" / f"{index}.npy", sample)
    result = n6convert.convert(
        tmp_path / "kws.onnx", output=tmp_path / "out", cache=False,
        settings=FAST | {"calibration.source": str(tmp_path / "samples")},
    )  # fmt: skip
    assert result.report.placement is not None
    epochs = result.report.placement.after["epochs"]
    assert epochs["sw"] == epochs["hybrid"] == 0 and epochs["total"] > 6
    assert (next(iter(result.report.sqnr_db.values())) or 0) > {"LSTM": 36, "GRU": 29.5, "RNN": 32}[op]


@pytest.mark.parametrize("layers", [1, 2])
def test_a_streaming_network_hands_its_states_on_as_they_are(layers: int, tmp_path: Path) -> None:
    ir.save(streaming_lstm(layers), tmp_path / "step.onnx")
    random = np.random.default_rng(0)
    (tmp_path / "samples").mkdir()
    float_session = Session(ir.load(tmp_path / "step.onnx"))
    state = {"h": np.zeros((layers, 1, 12), np.float32), "c": np.zeros((layers, 1, 12), np.float32)}
    frames = random.standard_normal((40, 1, 1, 20)).astype(np.float32)
    for index, frame in enumerate(frames[:24]):
        np.savez(tmp_path / "samples" / f"{index:02}.npz", x=frame, **state)
        state = fed_back(float_session.run({"x": frame, **state}))
    result = n6convert.convert(
        tmp_path / "step.onnx", output=tmp_path / "out", cache=False,
        settings=FAST | {"calibration.source": str(tmp_path / "samples"), "quantization.rounding": "nearest"},
    )  # fmt: skip
    grids = {t["name"]: (t["scale"], t["zero_point"]) for t in result.report.quantization["tensors"]}
    assert grids["h"] == grids["h_next"] and grids["c"] == grids["c_next"] and grids["h"] != grids["c"]
    assert result.report.placement is not None and result.report.placement.after["epochs"]["sw"] == 0
    int8_session = Session(ir.load(result.model_path))
    float_y = played(float_session, frames[24:], state)
    int8_y = played(int8_session, frames[24:], {k: v.reshape(1, layers, 12) for k, v in state.items()})
    assert sqnr_db(float_y, int8_y) > 25


def test_time_in_front_of_the_batch_becomes_an_axis_of_its_own(tmp_path: Path) -> None:
    g = GraphWriter()
    cell = add_cell(g, "GRU", g.input("x", [6, 1, 10]), (6, 1, 10, 8, 2))
    ir.save(g.model(*cell), tmp_path / "m.onnx")
    np.save(tmp_path / "s.npy", np.random.default_rng(0).standard_normal((20, 6, 10)).astype(np.float32))
    result = n6convert.convert(
        tmp_path / "m.onnx", output=tmp_path / "out", cache=False,
        settings=FAST | {"calibration.source": str(tmp_path / "s.npy"), "quantization.rounding": "nearest"},
    )  # fmt: skip
    graph = ir.load(result.model_path).graph
    assert [shape_of(v) for v in (*graph.inputs, *graph.outputs)] == [(1, 6, 10), (1, 6, 2, 8), (1, 2, 8)]
    assert result.report.placement is not None and result.report.placement.after["epochs"]["sw"] == 0


def streaming_lstm(layers: int) -> ir.Model:
    """One step of an LSTM of several layers, its states stacked as torch has them."""
    g = GraphWriter()
    rows, stacked = g.input("x", [1, 1, 20]), [g.input(name, [layers, 1, 12]) for name in ("h", "c")]
    last: list[list[str]] = [[], []]
    for layer in range(layers):
        axes, ends = g.constant([0], np.int64), [g.constant([layer + i], np.int64) for i in (0, 1)]
        states = [g.node("Slice", s, *ends, axes) for s in stacked]
        y, *new = add_cell(g, "LSTM", rows, (1, 1, 12 if layer else 20, 12, 1), states)
        rows = g.node("Squeeze", y, g.constant([1], np.int64))
        for names, value in zip(last, new, strict=True):
            names.append(value)
    outputs = [g.node("Concat", *names, axis=0) for names in last]
    for node, name in zip(g.nodes[-2:], ("h_next", "c_next"), strict=True):
        node.output[0] = name
    assert len(outputs) == 2
    logits = g.node("Gemm", g.reshape(rows, [1, 12]), g.weight(12, 4), g.vector(4))
    return g.model(logits, "h_next", "c_next")


def fed_back(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"h": outputs["h_next"], "c": outputs["c_next"]}


def played(session: Session, frames: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """The logits of a sequence of frames."""
    found = []
    for frame in frames:
        outputs = session.run({"x": frame, **state})
        state = fed_back(outputs)
        found.append(next(v for k, v in outputs.items() if not k.endswith("_next")))
    return np.concatenate(found)
