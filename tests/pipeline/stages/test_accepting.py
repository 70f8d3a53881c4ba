"""What labeled samples say of models between the methods."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from n6convert.api import make_draft
from n6convert.api.quantizing import prepared_run
from n6convert.pipeline.run import Run
from n6convert.pipeline.stages import accepting
from n6convert.pipeline.stages.accepting import Accepting
from n6convert.samples.listed import ListedSource

from .test_evaluate import labels, pictures


@pytest.fixture
def judge(toy: Path) -> Accepting:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    draft = make_draft("seer")
    given = {
        "weights": "seeded", "calibration.source": str(seen), "simplify.onnxsim": False,
        "evaluation.source": str(labels(judged, toy / "judged.json")), "acceptance.max_drop": 1.0,
    }  # fmt: skip
    for key, value in given.items():
        draft.set(tuple(key.split(".")), value, "test")
    run = prepared_run(draft, ["export", "simplify"])
    return Accepting(run, run.artifacts["simplify"].load())


def dazzled(judge: Accepting) -> ir.Model:
    """A model to which every picture is bright."""
    model = judge._reference.clone()
    (weight,) = model.graph.initializers.values()
    assert weight.const_value is not None
    weight.const_value = ir.tensor(100 * weight.const_value.numpy(), name=weight.name)
    return model


def test_each_model_runs_once_on_each_sample(judge: Accepting, monkeypatch: pytest.MonkeyPatch) -> None:
    encoded, encode = [], Run.encode
    monkeypatch.setattr(Run, "encode", lambda run, sample: (encoded.append(sample.id), encode(run, sample))[1])
    wrong, same = dazzled(judge), judge._reference.clone()
    assert judge.judged(same) == (0.0, 10) and judge.judged(wrong).drop == judge.drop(wrong) > 1.0
    assert len(encoded) == 3 * len(set(encoded)) == 3 * 10, "the float model and both others"
    assert set(judge.used) == set(encoded)
    assert judge(same, {"y": 40.0}) and not judge(wrong, {"y": 40.0}) and len(encoded) == 30


@pytest.mark.parametrize(("room", "reads"), [(64 << 20, 1), (1000, 2)])
def test_samples_are_read_again_only_where_they_are_large(
    judge: Accepting, monkeypatch: pytest.MonkeyPatch, room: int, reads: int
) -> None:
    walked, walk = [], ListedSource.__iter__
    monkeypatch.setattr(accepting, "_KEPT", room)
    assert judge._run.sampling.hashes["calibration"]  # which reads the calibration samples
    monkeypatch.setattr(ListedSource, "__iter__", lambda source: (walked.append(source), walk(source))[1])
    assert judge.drop(dazzled(judge)) > 1.0
    assert len(walked) == reads, "for the float model, and for the other one"
