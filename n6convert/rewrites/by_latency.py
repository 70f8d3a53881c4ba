"""Deciding by predicted time: which rules pay, and how much each gains."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from n6convert.errors import GraphError
from n6convert.operators.table import refusal_of
from n6convert.operators.versions import Version
from n6convert.rewrites.rule import Rewrite
from n6convert.rewrites.trial import Checkpoint, Refused, Run
from n6convert.types import Progress

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["Choice", "Estimator", "Weighed", "predicted_milliseconds", "weigh"]

Estimator = Callable[[ir.Model], float]
Choices = Mapping[tuple[str, str], str]
Trial = Callable[[Sequence[Rewrite[Any]], Checkpoint | None, Choices], Run]
_WEIGHED_NODES = 2000
_WORTH = 1e-3  # of the whole time; smaller differences are noise of the predictor
_CLEAR = 0.02  # of the whole time; a rule that gains more is not weighed again when another one is dropped


@dataclass(frozen=True)
class Choice:
    """The form that a rule writes at a kind of place, and the whole graph's milliseconds with each form."""

    rule: str
    place: str
    form: str
    milliseconds: Mapping[str, float]


@dataclass
class Weighed:
    """Rules that may run, and the figures behind it."""

    rules: list[Rewrite[Any]]
    before: float | None = None
    after: float | None = None
    gains: dict[str, float] = field(default_factory=dict)
    refused: list[Refused] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    run: Run | None = None
    """The trial with these rules, not yet proven."""

    @property
    def forms(self) -> dict[tuple[str, str], str]:
        """The chosen forms by rule and kind of place."""
        return {(c.rule, c.place): c.form for c in self.choices}


def weigh(
    start: ir.Model,
    rules: Sequence[Rewrite[Any]],
    trial: Trial,
    timer: Estimator,
    progress: Progress | None = None,
    version: Version | None = None,
) -> Weighed:
    """Drop rules without which the rewritten graph would be faster, the most harmful first.

    A graph of more than a few thousand nodes is judged as a whole: leaving rules out one by one would take minutes.

    Args:
        start: the graph before rewrites.
        rules: candidates in order.
        trial: runs rules on the graph, or on from a checkpoint, with forms chosen, without proof.
        timer: predicted milliseconds.
        progress: called for every rule.
        version: of the compiler; None: any.
    """
    before = _time_before(start, timer, version)
    run = trial(rules, None, {})
    best = _time_after(run, timer)
    if run.model.graph.num_nodes() > _WEIGHED_NODES:
        kept = [r for r in rules if r.housekeeping]
        return _as_a_whole(rules, run, before, best, timer(trial(kept, None, {}).model))
    result = Weighed(list(rules), before, best, run=run)
    _choose(result, trial, timer, progress)
    while (dropped := _weigh_once(result, trial, timer, progress)) is not None:
        worst, (time, run) = dropped
        reason = f"the graph is predicted faster without it: {time:.3f} ms instead of {result.after:.3f} ms"
        result.refused.append(Refused(worst, "whole graph", reason))
        result.rules, result.after, result.run = [r for r in result.rules if r.name != worst], time, run
        result.gains.pop(worst)
    return result


def _time_before(start: ir.Model, timer: Estimator, version: Version | None) -> float | None:
    """None for a graph that the compiler would not take as it is."""
    if any(refusal_of(n.op_type, version) for n in start.graph):
        return None
    try:
        return timer(start)
    except GraphError:
        return None


def _time_after(run: Run, timer: Estimator) -> float:
    try:
        return timer(run.model)
    except GraphError as error:  # where a rule that would have helped says why it did not, that is the remedy
        reasons = [refused.reason for refused in run.refused.values() if refused.place == error.place]
        error.remedy = reasons[0] if reasons else error.remedy
        raise


def _choose(result: Weighed, trial: Trial, timer: Estimator, progress: Progress | None) -> None:
    """Try every other form that rules could write at a kind of place, one kind after the other."""
    assert result.run is not None and result.after is not None
    kinds = list(result.run.options.items())
    for done, ((rule, place), names) in enumerate(kinds):
        if progress is not None:
            progress(f"choose {rule}", done, len(kinds))
        form, times = names[0], {names[0]: result.after}
        for name in names[1:]:
            run = trial(result.rules, result.run.before(rule), result.forms | {(rule, place): name})
            times[name] = timer(run.model)
            if times[name] < result.after * (1 - _WORTH):
                form, result.after, result.run = name, times[name], run
        result.choices.append(Choice(rule, place, form, times))


def _as_a_whole(rules: Sequence[Rewrite[Any]], run: Run, before: float | None, best: float, without: float) -> Weighed:
    """All rules, or only those that are not weighed, which alone give a graph of ``without`` milliseconds."""
    if best <= without:
        return Weighed(list(rules), before, best, run=run)
    reason = f"the rewritten graph is predicted slower: {best:.3f} ms instead of {without:.3f} ms"
    refused = [Refused(r.name, "whole graph", reason) for r in rules if not r.housekeeping]
    return Weighed([r for r in rules if r.housekeeping], before, refused=refused)


def _weigh_once(
    result: Weighed, trial: Trial, timer: Estimator, progress: Progress | None
) -> tuple[str, tuple[float, Run]] | None:
    """Leave each rule out in turn; the one that harms most with the time and the run without it, None when all help."""
    assert result.run is not None and result.after is not None
    best, used = result.after, {a.rule for a in result.run.applied}
    clear = {name for name, gain in result.gains.items() if gain > _CLEAR * best}
    judged = [r for r in result.rules if not r.housekeeping and r.name in used - clear]
    without: dict[str, tuple[float, Run]] = {}
    for done, rule in enumerate(judged):
        if progress is not None:
            progress(f"weigh {rule.name}", done, len(judged))
        others = [r for r in result.rules if r is not rule]
        other = trial(others, result.run.before(rule.name), result.forms)
        without[rule.name] = timer(other.model), other
        result.gains[rule.name] = without[rule.name][0] - best
    worst = min(without, key=lambda name: without[name][0], default=None)
    if worst is None or without[worst][0] >= best * (1 - _WORTH):
        return None
    return worst, without[worst]


def predicted_milliseconds(target: Target | str | None) -> Estimator | None:
    """n6convert's own predictor for a target; None without a target."""
    if target is None:
        return None
    from n6convert.npu import estimate

    return lambda model: float(estimate(model, target, assume_quantized=True).costs.latency.milliseconds)
