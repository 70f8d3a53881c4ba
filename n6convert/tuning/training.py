"""The training loop: judged as it goes, and resumable at any step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch
from numpy.typing import NDArray

from n6convert.errors import QuantizationError
from n6convert.recipe.tune import TuneConfig
from n6convert.tuning.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from n6convert.tuning.descent import Descent
from n6convert.tuning.fake_quantization import Steps
from n6convert.tuning.loss import decibels, feature_loss, output_loss
from n6convert.tuning.parameters import Parameters
from n6convert.tuning.program import Program, State
from n6convert.tuning.quantization import exceeds
from n6convert.tuning.samples import Example, ExampleSource, batches
from n6convert.tuning.standing import JUDGED, Standing
from n6convert.tuning.teacher import Teacher
from n6convert.types import Progress

__all__ = ["TaskLoss", "Training", "even_parts", "judgements", "rates_of"]

TaskLoss = Callable[[Mapping[str, Any], Any], Any]
"""From the outputs as torch tensors and a labeled sample to a loss; None where it says nothing of the sample."""

Judged = Callable[[ir.Model], float]
#: share of a run's seconds that judgements may take: there are fewer where one takes long
_JUDGING = 0.1
#: seconds between checkpoints
_SAVED = 30.0
#: rates at the end, as a share of the highest
_LAST = 0.02
#: share of the run in which rates rise
_FIRST = 0.05
#: times that training starts again from the best numbers after some were not finite
_ROLLBACKS = 3
#: share of the rates with which it does
_SLOWER = 0.3
#: bytes kept for the gradients of samples that run side by side
_MEMORY = 3 << 29
#: bytes that an operator keeps, in the mean, below which threads wait for each other longer than they work: four of the
#: pieces that torch gives to one thread
_PER_OPERATOR = 4 * 32768 * 4


class Training:
    """One training run.

    Args:
        source: training samples of an epoch.
        judged: closeness in dB of an INT8 model on samples that are not trained on.
        task: a loss of the task on labeled samples, beside the distance to float.
        checkpoint: where it is kept, and a key of everything that decides the run.
    """

    def __init__(
        self,
        program: Program,
        parameters: Parameters,
        teacher: Teacher,
        ends: Sequence[str],
        source: ExampleSource,
        judged: Judged,
        config: TuneConfig,
        *,
        seed: int = 0,
        task: TaskLoss | None = None,
        checkpoint: tuple[Path, str] | None = None,
        progress: Progress | None = None,
    ) -> None:
        self._program, self._parameters, self._teacher = program, parameters, teacher
        # an output has a loss of its own, whose gradient must not end at the block's
        self._ends = [e for e in ends if teacher.spread.get(e, 0.0) > 0 and e not in teacher.outputs]
        self._source, self._judged, self._config, self._seed = source, judged, config, seed
        self._task, self._place = task, checkpoint
        self._say = progress or (lambda what, done, total: None)
        self._total = config.steps
        self._together = 0
        self.standing = Standing()
        self.best = parameters.arrays()
        rates, leaves = rates_of(config), parameters.leaves
        self._descent = Descent(leaves, {name: rates[name.partition("/")[0]] for name in leaves})
        self.resumed = self._resume()

    def run(self) -> None:
        """Train; :attr:`best` holds the trained numbers that were closest to float.

        Those at the start are not among them: the quantizer fitted them to all samples that are here, so they look
        better than on others. Only samples that are held back can compare them.
        """
        standing = self.standing
        if not standing.curve:
            begun = time.monotonic()
            self._judge(start=True)
            standing.judged = 1
            standing.judgements = judgements(self._config.time_budget, time.monotonic() - begun)
        started, saved = time.monotonic() - standing.seconds, time.monotonic()
        for batch in batches(self._source, self._config.batch, self._seed, standing.step):
            done = self._share()
            if done >= 1 or standing.idle >= self._config.patience or standing.rollbacks > _ROLLBACKS:
                break
            if self._finite(self._step(batch, self._rate(done))):
                standing.step += 1
                standing.seconds = time.monotonic() - started
                self._judge_in_time()
            if time.monotonic() - saved >= _SAVED:
                self._save()
                saved = time.monotonic()
            self._report()
        self._judge(last=True)

    def _share(self) -> float:
        """How much of the run is done, by steps or by time."""
        budget = self._config.time_budget
        by_time = self.standing.seconds / budget if budget else 0.0
        return max(self.standing.step / self._total if self._total else 1.0, by_time)

    def _rate(self, done: float) -> float:
        """Share of the rates at a share of the run: a short rise, then a falling cosine."""
        share = self.standing.slower * (_LAST + (1 - _LAST) * 0.5 * (1 + math.cos(math.pi * done)))
        return share * min((done + 0.005) / _FIRST, 1.0)

    def _step(self, batch: Sequence[Example], rate: float) -> float:
        """One step; returns the loss."""
        loss = self._gradients(batch)
        grads = [leaf.grad for leaf in self._parameters.leaves.values() if leaf.grad is not None]
        if not math.isfinite(loss) or not all(bool(torch.isfinite(g).all()) for g in grads):
            return math.nan
        self._descent.step(rate)
        self._parameters.limit()
        return loss

    def _gradients(self, batch: Sequence[Example]) -> float:
        """Compute the leaves' gradients; returns the loss."""
        state = self._parameters.state()
        inner, pairs = _apart(state)
        total = 0.0
        if not self._together:
            self._arranged(batch, inner)
        for first in range(0, len(batch), self._together):
            part = batch[first : first + self._together]
            loss = self._loss(part, inner) * (len(part) / len(batch))
            if loss.requires_grad:
                loss.backward()
            total += float(loss.detach())
        known = [(outer, leaf.grad) for outer, leaf in pairs if leaf.grad is not None]
        self._descent.forget()
        if known:
            torch.autograd.backward([outer for outer, _ in known], [grad for _, grad in known])
        return total

    def _arranged(self, batch: Sequence[Example], state: State) -> None:
        """Choose how many samples run side by side; where operators are small even then, one thread runs them."""
        size = max(self._program.bytes_of_sample(batch[0].feeds, state), 1)
        self._together = even_parts(len(batch), max(_MEMORY // size, 1))
        if self._together * size < _PER_OPERATOR * self._program.operators:
            torch.set_num_threads(1)

    def _loss(self, examples: Sequence[Example], state: Mapping[str, Any]) -> Any:
        config, teacher = self._config, self._teacher
        inside = config.feature_weight > 0
        feeds = [e.feeds for e in examples]
        exact, tokens = teacher.run_all(feeds, inside=inside), teacher.tokens(feeds)
        run = self._program.run(feeds, state, keep=self._ends if inside else ())
        features = feature_loss(run.kept, exact, teacher.spread, tokens)
        outputs = output_loss(run.outputs, exact, teacher.spread, tokens)
        loss = decibels(outputs) / max(len(outputs), 1)
        if features:
            loss = loss + config.feature_weight * decibels(features) / len(features)
        return loss if self._task is None else loss + config.task_weight * self._task_loss(run.outputs, examples)

    def _task_loss(self, outputs: Mapping[str, Any], examples: Sequence[Example]) -> Any:
        """Mean of the task's own loss over the samples."""
        assert self._task is not None
        found = [
            self._task({name: values[i] for name, values in outputs.items()}, e.sample)
            for i, e in enumerate(examples)
            if e.sample is not None
        ]
        return sum(f for f in found if f is not None) / len(examples)

    def _finite(self, loss: float) -> bool:
        """Whether a step went well; else the best numbers are taken again, and smaller steps from there."""
        if math.isfinite(loss):
            return True
        self._parameters.load(self.best)
        self._descent.restart()
        self.standing.rollbacks += 1
        self.standing.slower *= _SLOWER
        return False

    def _judge_in_time(self) -> None:
        """Judge some times on the way."""
        done = self._share()
        count = self.standing.judgements
        if done < 1 and int(done * count) >= self.standing.judged:
            self.standing.judged = int(done * count) + 1
            self._judge()

    def _judge(self, *, start: bool = False, last: bool = False) -> None:
        """Compare with the best so far on samples that are not trained on."""
        standing = self.standing
        if last and standing.curve and standing.curve[-1]["step"] == standing.step:
            return
        closeness = self._judged(self._parameters.written())
        better = not start and exceeds(closeness, standing.best)
        standing.curve.append({"step": standing.step, "closeness_db": round(closeness, 3)})
        standing.idle = 0 if better or start else standing.idle + 1
        if better:
            standing.best, self.best = closeness, self._parameters.arrays()

    def _report(self) -> None:
        """Tell how far the run is, in steps, or in time where that ends it sooner: what is left is told from it."""
        done = max(self.standing.step, int(self._share() * self._total))
        self._say("training", min(done, self._total), self._total)

    def _save(self) -> None:
        if self._place is None:
            return
        self.standing.moved = self._descent.steps
        arrays = {f"now/{n}": a for n, a in self._parameters.arrays().items()}
        arrays |= {f"best/{n}": a for n, a in self.best.items()}
        arrays |= self._descent.arrays()
        save_checkpoint(self._place[0], Checkpoint(self._place[1], vars(self.standing), arrays))

    def _resume(self) -> bool:
        held = load_checkpoint(*self._place) if self._place is not None else None
        if held is None:
            return False
        try:
            self._take(held)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise QuantizationError(
                "the checkpoint of an interrupted training does not fit", place=self._place and self._place[0],
                found=str(error)[:200], remedy="delete the file; training then begins anew",
            ) from error  # fmt: skip
        return True

    def _take(self, held: Checkpoint) -> None:
        self.standing = Standing(**held.facts)
        parts: dict[str, dict[str, NDArray[Any]]] = {"now": {}, "best": {}}
        for name, array in held.arrays.items():
            kind, _, rest = name.partition("/")
            if kind in parts:
                parts[kind][rest] = array
        self._parameters.load(parts["now"])
        self.best = parts["best"]
        self._descent.load(held.arrays, self.standing.moved)


def rates_of(config: TuneConfig) -> dict[str, float]:
    """How far leaves of each kind move in a step, about."""
    return {
        "weight": config.weight_rate, "narrow": config.narrow_rate, "bias": config.bias_rate,
        "spread": config.channel_rate, "scale": config.scale_rate,
    }  # fmt: skip


def even_parts(count: int, most: int) -> int:
    """The size of parts that take as many items as others, about, and of which no fewer would do."""
    parts = -(-count // most)
    return -(-count // parts)


def judgements(budget: float | None, seconds: float) -> int:
    """How many a run has.

    Args:
        budget: seconds of training; None: no limit.
        seconds: that one takes.
    """
    return JUDGED if budget is None else min(max(int(_JUDGING * budget / max(seconds, 1e-3)), 1), JUDGED)


def _apart(state: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """The state as leaves, so that the samples of a batch add their gradients up; and what each leaf stands for."""
    pairs: list[tuple[Any, Any]] = []
    known: dict[int, Any] = {}

    def leaf(tensor: Any) -> Any:
        if not tensor.requires_grad:
            return tensor
        if id(tensor) not in known:
            known[id(tensor)] = tensor.detach().requires_grad_(True)
            pairs.append((tensor, known[id(tensor)]))
        return known[id(tensor)]

    inner = {
        name: Steps(leaf(v.integers), leaf(v.scale)) if isinstance(v, Steps) else leaf(v) for name, v in state.items()
    }
    return inner, pairs
