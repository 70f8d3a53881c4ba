"""Training: it brings accuracy back, goes on where it was interrupted, and never makes a result worse."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from n6convert.errors import QuantizationError  # noqa: E402
from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize  # noqa: E402
from n6convert.tuning import Example, TuneConfig, training, tune  # noqa: E402
from n6convert.tuning.parameters import Parameters  # noqa: E402
from n6convert.tuning.program import Program  # noqa: E402
from n6convert.tuning.samples import batches, mixed  # noqa: E402

from .nets import deep, smooth  # noqa: E402

CONFIG = TuneConfig(steps=48, batch=4, time_budget=None, scale_rate=0.03, channel_rate=0.03, narrow_rate=0.01)
HELD = smooth(8, seed=99)


def four_bits(clipped: float, weights: str = "int4") -> QuantizationResult:
    """A network with weights of four bits and scales that clip, by e to ``clipped``, so that there is much to win."""
    config = QuantizationConfig(
        weights=weights, bias_correction="off", equalization=False, merge_convolutions=False, threads=1
    )
    result = quantize(deep(), lambda: smooth(32), config)
    assert result.prepared is not None
    parameters = Parameters(result.model, result.prepared)
    with torch.no_grad():
        for leaf in parameters.parts("scale"):
            leaf.sub_(clipped)
    return replace(result, model=parameters.written())


@pytest.fixture(scope="module")
def narrow() -> QuantizationResult:
    """A network that clips."""
    return four_bits(0.4)


def examples(epoch: int) -> Iterator[Example]:
    return (Example(f) for f in smooth(32, seed=5))


def tuned(result: QuantizationResult, config: TuneConfig = CONFIG, **more: Any) -> Any:
    assert result.prepared is not None
    return tune(result.model, result.prepared, more.pop("source", examples), HELD, config, threads=1, **more)


def codes(model: Any) -> dict[str, np.ndarray]:
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}


def test_four_bits_come_closer_on_samples_that_nobody_saw() -> None:
    narrow = four_bits(0.8)
    result = tuned(narrow)
    facts = result.facts
    assert facts["kept"] and facts["after"]["closeness_db"] > facts["before"]["closeness_db"] + 4
    assert facts["agreement"][1]["differing"] <= 1e-4 * facts["agreement"][1]["codes"]
    assert len(facts["curve"]) == 9 and facts["steps"] == 48
    assert [n.op_type for n in result.model.graph] == [n.op_type for n in narrow.model.graph]


def test_the_same_seed_gives_the_same_file(narrow: QuantizationResult) -> None:
    config = CONFIG
    first, second, other = (tuned(narrow, config, seed=s).model for s in (1, 1, 2))
    assert all(np.array_equal(a, codes(second)[n]) for n, a in codes(first).items())
    assert not all(np.array_equal(a, codes(other)[n]) for n, a in codes(first).items())


def test_an_interrupted_run_goes_on_and_ends_the_same(
    narrow: QuantizationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"steps": 18})
    whole = tuned(narrow, config)
    monkeypatch.setattr(training, "_SAVED", 0.0)
    place = tmp_path / "run.npz"

    def interrupt(what: str, done: int, total: int | None) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tuned(narrow, config, checkpoint=place, progress=interrupt)
    assert place.is_file()
    steps: list[int] = []
    resumed = tuned(narrow, config, checkpoint=place, progress=lambda what, done, total: steps.append(done))
    assert resumed.facts["resumed"] and steps[0] == 10 and not whole.facts["resumed"]
    assert resumed.facts["curve"] == whole.facts["curve"]
    assert all(np.array_equal(a, codes(resumed.model)[n]) for n, a in codes(whole.model).items())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"other"])
def test_a_damaged_checkpoint_is_not_taken_up(narrow: QuantizationResult, tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "run.npz"
    place.write_bytes(content)
    config = CONFIG.model_copy(update={"steps": 1})
    assert not tuned(narrow, config, checkpoint=place).facts["resumed"]


def test_a_checkpoint_of_another_run_is_not_taken_up(
    narrow: QuantizationResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_SAVED", 0.0)
    config, place = CONFIG.model_copy(update={"steps": 2}), tmp_path / "run.npz"
    tuned(narrow, config, checkpoint=place)
    assert place.is_file()
    assert not tuned(narrow, config, checkpoint=place, identity={"samples": "others"}).facts["resumed"]


def test_numbers_that_are_not_finite_are_taken_back(narrow: QuantizationResult) -> None:
    calls: list[int] = []

    def task(outputs: Any, sample: Any) -> Any:
        calls.append(1)
        return next(iter(outputs.values())).sum() * (float("nan") if len(calls) in (9, 30) else 0.0)

    def labeled(epoch: int) -> Iterator[Example]:
        return (Example(e.feeds, sample) for sample, e in enumerate(examples(epoch)))  # type: ignore[arg-type]

    result = tuned(narrow, CONFIG.model_copy(update={"task_weight": 1.0}), task=task, source=labeled)
    assert result.facts["rollbacks"] == 2 and "not finite in training 2 times" in " ".join(result.facts["warnings"])
    assert all(np.isfinite(a.astype(np.float32)).all() for a in codes(result.model).values())
    assert result.facts["after"]["closeness_db"] >= result.facts["before"]["closeness_db"]


def test_training_that_never_is_finite_ends_with_the_model_as_it_was(narrow: QuantizationResult) -> None:
    def task(outputs: Any, sample: Any) -> Any:
        return next(iter(outputs.values())).sum() * float("inf")

    def labeled(epoch: int) -> Iterator[Example]:
        return (Example(e.feeds, 0) for e in examples(epoch))  # type: ignore[arg-type]

    config = CONFIG.model_copy(update={"task_weight": 1.0})
    result = tuned(narrow, config, task=task, source=labeled)
    assert not result.facts["kept"] and result.model is narrow.model and result.facts["steps"] == 0


def test_what_is_no_closer_is_not_kept(narrow: QuantizationResult) -> None:
    """Rates that destroy the network: the held-back samples say so, and a warning does."""
    wild = CONFIG.model_copy(update={"bias_rate": 10.0, "scale_rate": 0.5, "channel_rate": 0.5, "steps": 12})
    result = tuned(narrow, wild)
    assert not result.facts["kept"] and result.model is narrow.model
    assert result.facts["after"]["closeness_db"] < result.facts["before"]["closeness_db"], "what was trained is judged"
    assert "stays as it was" in result.facts["warnings"][0]


def test_too_few_samples_are_refused(narrow: QuantizationResult) -> None:
    with pytest.raises(QuantizationError, match="too few samples") as caught:
        tuned(narrow, source=lambda epoch: (Example(f) for f in smooth(5)))
    assert "--samples" in str(caught.value.remedy)


def test_the_time_budget_ends_training(narrow: QuantizationResult) -> None:
    result = tuned(narrow, CONFIG.model_copy(update={"steps": 100_000, "time_budget": 1.0}))
    assert 0 < result.facts["steps"] < 1000


def test_training_ends_early_without_progress(narrow: QuantizationResult) -> None:
    still = CONFIG.model_copy(
        update={
            "weight_rate": 0.0,
            "narrow_rate": 0.0,
            "bias_rate": 0.0,
            "scale_rate": 0.0,
            "channel_rate": 0.0,
            "steps": 60,
            "patience": 2,
        }
    )
    assert tuned(narrow, still).facts["steps"] < 60


@pytest.mark.parametrize(
    ("budget", "seconds", "count"), [(600.0, 1.0, 8), (600.0, 15.0, 4), (60.0, 60.0, 1), (None, 60.0, 8)]
)
def test_judgements_take_a_tenth_of_the_time_at_most(budget: float | None, seconds: float, count: int) -> None:
    assert training.judgements(budget, seconds) == count


@pytest.mark.parametrize(("count", "most", "size"), [(16, 6, 6), (16, 5, 4), (16, 100, 16), (16, 1, 1), (7, 6, 4)])
def test_samples_run_in_parts_that_are_alike(count: int, most: int, size: int) -> None:
    assert training.even_parts(count, most) == size


def test_what_is_kept_for_gradients_is_limited(narrow: QuantizationResult, monkeypatch: pytest.MonkeyPatch) -> None:
    assert narrow.prepared is not None
    sample = Program(narrow.model).bytes_of_sample(HELD[0], Parameters(narrow.model, narrow.prepared).state())
    monkeypatch.setattr(training, "_MEMORY", int(3.5 * sample))
    run, ran = Program.run, list[int]()
    monkeypatch.setattr(
        Program, "run", lambda self, samples, *a, **k: (ran.append(len(samples)), run(self, samples, *a, **k))[1]
    )
    tuned(narrow, CONFIG.model_copy(update={"steps": 1, "batch": 8}))
    assert [size for size in ran if size > 1] == [2, 3, 3, 2, 2], "two are held against the file before and after"


def test_memory_of_a_sample_is_what_gradients_need_of_it(narrow: QuantizationResult) -> None:
    assert narrow.prepared is not None
    program, state = Program(narrow.model), Parameters(narrow.model, narrow.prepared).state()
    found = program.bytes_of_sample(HELD[0], state)
    maps = 4 * 16 * 6 * 6  # bytes; of a block, rounding keeps what it rounds, products and functions what they read
    assert 3 * 4 * maps < found < 3 * 14 * maps, "neither weights, nor tensors that only have another name"


def test_order_differs_by_epoch_and_holds_few_samples() -> None:
    alive: list[int] = []

    def large() -> Iterator[Example]:
        for index in range(40):
            alive.append(index)
            yield Example({"x": np.full(1 << 22, index, np.float32)})  # 16 MiB

    order = []
    for example in mixed(large(), (0, 0)):
        order.append(int(example.feeds["x"][0]))
        assert len(alive) - len(order) <= 8
    assert sorted(order) == list(range(40)) and order != sorted(order)
    small = [Example({"x": np.array([i], np.float32)}) for i in range(8)]
    stream = batches(lambda epoch: iter(small), 4, 3)
    first, second = ([int(e.feeds["x"][0]) for _ in range(2) for e in next(stream)] for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(8)) and first != second
    assert [int(e.feeds["x"][0]) for e in next(batches(lambda epoch: iter(small), 4, 3, skip=2))] == second[:4]


def test_weights_keep_their_codes_where_asked() -> None:
    """Scales and biases are few: what they learn from some samples holds for others."""
    narrow = four_bits(0.8)
    result = tuned(narrow, CONFIG.model_copy(update={"narrow_rate": 0.0, "weight_rate": 0.0}))
    before, after = codes(narrow.model), codes(result.model)
    layers = [n for n, a in before.items() if a.dtype.name in ("int4", "int8") and a.ndim > 1]
    assert layers and all(np.array_equal(before[n], after[n]) for n in layers)
    assert result.facts["kept"] and result.facts["gain"]["low"] > 0.5, result.facts["gain"]


def test_weights_and_activation_scales_learn_by_default_and_channels_stay() -> None:
    wide = four_bits(0.8, "int8")
    result = tuned(wide, TuneConfig(steps=60, time_budget=None))
    before, after = codes(wide.model), codes(result.model)
    moved = [np.mean(a != after[n]) for n, a in before.items() if a.dtype.name == "int8" and a.ndim > 1]
    assert min(moved) > 0.01
    same = {n: np.array_equal(a, after[n]) for n, a in before.items()}
    assert all(same[f"w{i}_scale"] and same[f"x{i}_zero_point"] for i in range(3)), "of channels; placement"
    assert same["x_scale"] and same["y_scale"] and not any(same[f"c{i}_scale"] for i in range(3))
    assert result.facts["kept"] and result.facts["gain"]["low"] > 0.5, result.facts["gain"]
