"""Tuning: an INT8 model and the float model it stands for in, the same graph with trained numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from n6convert.errors import QuantizationError, ToolError
from n6convert.recipe.tune import TuneConfig
from n6convert.runtime.threads import default_threads
from n6convert.store.hashing import key_of
from n6convert.tuning.agreement import Agreement, agreement
from n6convert.tuning.blocks import block_ends, reached
from n6convert.tuning.evidence import gain
from n6convert.tuning.exact_weights import exact_weights
from n6convert.tuning.parameters import Parameters
from n6convert.tuning.program import Program, State
from n6convert.tuning.quantization import Evaluator, Fidelity
from n6convert.tuning.samples import Example, ExampleSource
from n6convert.tuning.teacher import Teacher
from n6convert.tuning.training import TaskLoss, Training, rates_of
from n6convert.types import Feeds, Progress

__all__ = ["Example", "TuneResult", "tune"]

#: one training sample in so many is kept apart and decides which numbers are best, and at most how many
_APART, _MOST_APART = 8, 32
_FEWEST = 8
#: samples by which sizes of tensors are measured, and those on which torch is held against the file
_MEASURED, _PROVEN = 8, 2
#: share of an output's codes that may be another one in torch: ties, which float32 rounds either way
_TIES = 0.01


@dataclass(frozen=True)
class TuneResult:
    """What :func:`tune` made.

    Attributes:
        model: the tuned model where the held-back samples say that it is closer to float, else the given one.
        facts: ready for JSON: ``kept``, ``before``, ``after`` (closeness and SQNR in dB), ``curve``, ``steps``,
            ``seconds``, ``agreement`` (torch against the file), ``exact_weights`` (closeness on samples that are not
            trained on, as quantized and with weights that are not rounded), ``warnings``.
    """

    model: ir.Model
    facts: dict[str, Any] = field(default_factory=dict)


def tune(
    model: ir.Model,
    prepared: ir.Model,
    samples: ExampleSource,
    held_back: Sequence[Feeds],
    config: TuneConfig | None = None,
    *,
    task: TaskLoss | None = None,
    seed: int = 0,
    checkpoint: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> TuneResult:
    """Train the numbers of an INT8 model until its outputs are closer to float.

    Args:
        model: INT8 QDQ model (weights of 8 or 4 bits); not changed.
        prepared: the float model it stands for, with tensors of the same names.
        samples: training samples by epoch; labels are only read by ``task``.
        held_back: samples that decide in the end; never trained on.
        checkpoint: file that a run which is interrupted goes on from.
        identity: what decides the run besides its models and the configuration: hashes of samples.

    Raises:
        GraphError: the graph has operators without a form in torch.
        QuantizationError: too few samples, or torch computes something else than the file.
        ToolError: no such device.
    """
    config = config or TuneConfig()
    device = _device(config)
    with _exact(threads or default_threads()):
        torch.manual_seed(seed)
        program, parameters = Program(model, device), Parameters(model, prepared, device)
        validation = _validation(samples)
        agreed = _proven(program, parameters, model, validation[:_PROVEN])
        moving = reached(model, parameters.changed_by([kind for kind, rate in rates_of(config).items() if rate]))
        ends = [name for name in block_ends(model, prepared) if name in moving] if config.feature_weight else []
        teacher = Teacher(prepared, ends, threads)
        teacher.measure(validation[:_MEASURED])
        evaluator = Evaluator(prepared, validation, threads)
        states = exact_weights(model, prepared, parameters.state())
        exact_db = max(evaluator.compared(_outputs(program, s, validation)).closeness_db for s in states)
        key = key_of({"config": config.model_dump(mode="json"), "seed": seed, **(identity or {})})
        training = Training(
            program, parameters, teacher, ends, _without(samples), lambda m: evaluator.fidelity(m).closeness_db, config,
            seed=seed, task=task, checkpoint=None if checkpoint is None else (checkpoint, key), progress=progress,
        )  # fmt: skip
        training.run()
        parameters.load(training.best)
        tuned = parameters.written()
        after = agreement(program, parameters.state(), tuned, validation[:_PROVEN])
    result = _decided(model, tuned, Evaluator(prepared, held_back, threads), training, (agreed, after), device)
    result.facts["exact_weights"] = {
        "rounded_db": training.standing.curve[0]["closeness_db"], "exact_db": round(exact_db, 3),
    }  # fmt: skip
    return result


def _outputs(program: Program, state: State, samples: Sequence[Feeds]) -> Iterator[dict[str, Any]]:
    with torch.no_grad():
        for feeds in samples:
            yield {name: values[0].cpu().numpy() for name, values in program.run([feeds], state).outputs.items()}


def _decided(
    model: ir.Model,
    tuned: ir.Model,
    evaluator: Evaluator,
    training: Training,
    agreed: tuple[Agreement, Agreement],
    device: str,
) -> TuneResult:
    """The closer of the two models on the held-back samples."""
    before, after = evaluator.fidelity(model), evaluator.fidelity(tuned)
    found = gain(before, after)
    kept = found.certain
    standing, warnings = training.standing, []
    if not kept:
        warnings.append(
            f"tuning brought nothing on held-back samples ({before.closeness_db:.2f} dB before, "
            f"{after.closeness_db:.2f} dB after, 95 %: {found.low:+.2f} to {found.high:+.2f} dB): the INT8 model stays "
            "as it was; give more samples with --samples"
        )
    if standing.rollbacks:
        warnings.append(
            f"numbers were not finite in training {standing.rollbacks} times: it went back to the best ones and on in "
            "smaller steps"
        )
    facts = {
        "kept": kept, "gain": found.facts(), "before": _figures(before), "after": _figures(after),
        "curve": standing.curve, "steps": standing.step, "seconds": round(standing.seconds, 1),
        "rollbacks": standing.rollbacks, "resumed": training.resumed,
        "device": device, "agreement": [a.facts() for a in agreed],
        "warnings": warnings,
    }  # fmt: skip
    return TuneResult(tuned if kept else model, facts)


def _figures(fidelity: Fidelity) -> dict[str, Any]:
    return {
        "closeness_db": round(fidelity.closeness_db, 3), "sqnr_db": round(fidelity.sqnr_db, 3),
        "outputs_sqnr_db": dict(fidelity.outputs_sqnr_db),
    }  # fmt: skip


def _validation(samples: ExampleSource) -> list[Feeds]:
    """Some of the samples, spread evenly, which are not trained on."""
    count = sum(1 for _ in samples(-1))
    if count < _FEWEST:
        raise QuantizationError(
            "too few samples to train on", limit=f"at least {_FEWEST}; some hundreds are better", found=count,
            remedy="give a folder that holds more with --calibration, and --samples 500",
        )  # fmt: skip
    chosen = (e.feeds for i, e in enumerate(samples(-1)) if i % _APART == _APART - 1)
    return list(islice(chosen, _MOST_APART))


def _without(samples: ExampleSource) -> ExampleSource:
    """The samples but those of :func:`_validation`."""

    def others(epoch: int) -> Iterator[Example]:
        for index, example in enumerate(samples(epoch)):
            if index % _APART != _APART - 1 or index >= _APART * _MOST_APART:
                yield example

    return others


def _proven(program: Program, parameters: Parameters, model: ir.Model, samples: Sequence[Feeds]) -> Agreement:
    """Hold torch against the INT8 file; raises QuantizationError where they differ by more than ties."""
    found = agreement(program, parameters.state(), model, samples)
    if found.differing > _TIES * found.codes:
        raise QuantizationError(
            "torch computes something else than the INT8 file", place=f"tensor {found.first}",
            limit=f"{_TIES:.0%} of the codes on a tie", found=f"{found.differing} of {found.codes} codes",
            remedy="convert without tuning, and report the operator in front of this tensor",
        )  # fmt: skip
    return found


def _device(config: TuneConfig) -> str:
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise ToolError(
            "there is no GPU that torch can use", place="tune.device", found=f"torch {torch.__version__}",
            remedy="leave tune.device out, or install a torch with CUDA",
        )  # fmt: skip
    return "cuda" if there and config.device != "cpu" else "cpu"


@contextmanager
def _exact(threads: int) -> Iterator[None]:
    """Let torch compute with so many threads, and with whole float32 numbers also on a GPU: sums are then exact."""
    before, backends = torch.get_num_threads(), (torch.backends.cuda.matmul, torch.backends.cudnn)
    allowed = [backend.allow_tf32 for backend in backends]
    torch.set_num_threads(threads)
    try:
        for backend in backends:
            backend.allow_tf32 = False
        yield
    finally:
        torch.set_num_threads(before)
        for backend, value in zip(backends, allowed, strict=True):
            backend.allow_tf32 = value
