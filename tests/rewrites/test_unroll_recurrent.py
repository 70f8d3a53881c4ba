from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import n6convert
from n6convert.errors import QuantizationError
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.rewrites.graph import shape_of

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
    assert not software(rewrite(model, None, RewriteConfig(), target=target).model, target)


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
