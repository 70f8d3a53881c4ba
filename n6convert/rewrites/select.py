"""``rewrite()``: which rules run on a model, what they did, and what each gained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import onnx_ir as ir

from n6convert.errors import RecipeError, RewriteError
from n6convert.graph.states import note_states
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.requantization.grids import collect_grids, mark_grids
from n6convert.rewrites.by_latency import Choice, Choices, Estimator, Weighed, predicted_milliseconds, weigh
from n6convert.rewrites.catalog import COMBINATIONS, all_rules
from n6convert.rewrites.engine import run_rules
from n6convert.rewrites.loops import write_out_loops
from n6convert.rewrites.prepare import prepare
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.rule import Context, Rewrite
from n6convert.rewrites.trial import Applied, Checkpoint, Refused, Run
from n6convert.types import Feeds, Progress

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["RewriteResult", "rewrite", "select_rules"]

_FEWEST_OPERATORS = (2, 1)
"""Core whose operator forms every core has."""


@dataclass
class RewriteResult:
    """A rewritten model and the account of it.

    Attributes:
        model: the rewritten graph; inputs and outputs keep names, shapes and types.
        applied: every application, in order.
        refused: places where a pattern was found and the rule did not run, with the reason.
        before, after: predicted milliseconds as an INT8 graph; None without a predictor.
        gains: milliseconds that each rule saved: what the graph would take more without it.
        difference: largest difference to the original's outputs, relative to their range.
        approximate: names of approximate rules that ran.
        choices: forms that were chosen among several by the predicted time of the whole graph.
    """

    model: ir.Model
    applied: list[Applied]
    refused: list[Refused]
    before: float | None = None
    after: float | None = None
    gains: dict[str, float] = field(default_factory=dict)
    difference: float = 0.0
    approximate: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """JSON-ready account for ``report.json``."""
        counts = Counter(a.rule for a in self.applied)
        return {
            "applied": [
                {"rule": rule, "times": n, "gain_ms": self.gains.get(rule), **self._account(rule)}
                for rule, n in counts.items()
            ],
            "choices": [
                {"rule": c.rule, "where": c.place, "form": c.form, "milliseconds": dict(c.milliseconds)}
                for c in self.choices
            ],
            "refused": [{"rule": r.rule, "where": r.place, "why": r.reason} for r in self.refused],
            "milliseconds": {"before": self.before, "after": self.after},
            "difference": self.difference,
            "approximate": self.approximate,
        }

    def _account(self, rule: str) -> dict[str, list[str]]:
        done = [a for a in self.applied if a.rule == rule]
        return {"where": [a.place for a in done], "because": list(dict.fromkeys(a.because for a in done if a.because))}


def rewrite(
    model: ir.Model,
    feeds: Callable[[], Iterable[Feeds]] | None,
    config: RewriteConfig,
    *,
    target: Target | str | None = None,
    extra: Sequence[Rewrite[Any]] = (),
    estimator: Estimator | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> RewriteResult:
    """Rewrite a float model so that its operators stay on the NPU.

    Args:
        model: float32 graph with static shapes; left as it is.
        feeds: makes an iterable of real inputs by name; the first few prove every application. None: random ones.
        config: which rules may run.
        target: board and compiler version; decides operator forms and time. None: forms that every core has, no time.
        extra: rules of a plugin, tried before the built-in ones.
        estimator: predicted milliseconds of a float graph as INT8; default n6convert's own predictor.
        threads: threads for running the graph.
        progress: called with what is done, how much is done and None.

    Raises:
        RecipeError: the configuration names a rule that does not exist.
        GraphError: a Loop or Scan cannot be written out.
        RewriteError: the rules do not converge, or the result differs although every step was proven.
    """
    rules = select_rules(config, extra)
    start = prepare(write_out_loops(model))
    proof = Proof(start, feeds, threads)
    note_states(start)
    mark_grids(start)
    from n6convert.npu.targets import load_target

    board = load_target(target) if isinstance(target, str) else target
    timer = estimator or predicted_milliseconds(board)
    context = _context(config, board, timer)

    def trial(chosen: Sequence[Rewrite[Any]], resume: Checkpoint | None, forms: Choices) -> Run:
        return run_rules(start, chosen, replace(context, choices=forms), proof, None, resume=resume)

    version = board.version if board else None
    weighed = weigh(start, rules, trial, timer, progress, version) if timer is not None else Weighed(list(rules))
    original, after = proof.reference, weighed.after
    run = weighed.run
    if run is None or not _proves(run, weighed.rules, proof, config.tolerance):
        forms = replace(context, choices=weighed.forms)
        run = run_rules(start, weighed.rules, forms, proof, config.tolerance, progress)
        run.difference = proof.difference(run.model)
        after = timer(run.model) if timer is not None else None
    used = {a.rule for a in run.applied if not a.exact}
    if used:
        run.difference = proof.distance(original, run.model)
    elif run.difference > config.tolerance:
        raise RewriteError("the rewritten graph answers differently", limit=config.tolerance, found=run.difference)
    collect_grids(run.model)
    return _account_of(run, weighed, after, sorted(used))


def _context(config: RewriteConfig, board: Target | None, timer: Estimator | None) -> Context:
    return Context(
        board.version if board else _FEWEST_OPERATORS,
        approximate=frozenset(config.approximate),
        timer=timer,
        switches=frozenset(board.switches if board else ()),
        recurrent_steps=config.recurrent_steps,
    )


def _account_of(run: Run, weighed: Weighed, after: float | None, approximate: list[str]) -> RewriteResult:
    applied = {a.rule for a in run.applied}
    return RewriteResult(
        run.model,
        run.applied,
        [*run.refused.values(), *weighed.refused],
        weighed.before,
        after,
        {rule: gain for rule, gain in weighed.gains.items() if rule in applied},
        run.difference,
        approximate,
        weighed.choices,
    )


def _proves(run: Run, rules: Sequence[Rewrite[Any]], proof: Proof, tolerance: float) -> bool:
    """Whether all that exact rules did holds at once; else it is proven step by step, as approximate rules are."""
    if not all(rule.exact for rule in rules):
        return False
    run.difference = proof.difference(run.model)
    return run.difference <= tolerance


def select_rules(config: RewriteConfig, extra: Sequence[Rewrite[Any]] = ()) -> list[Rewrite[Any]]:
    """The rules that a configuration allows, plugin rules first.

    Raises:
        RecipeError: an unknown name in ``rules``, ``exclude`` or ``approximate``.
    """
    rules = [*extra, *all_rules()]
    known = {r.name for r in rules}
    listed = config.rules if isinstance(config.rules, list) else []
    for name in [*listed, *config.exclude, *config.approximate]:
        if name not in known:
            raise RecipeError("no such rewrite", place="rewrite", found=name, limit=", ".join(sorted(known)))
    if config.rules == "none":
        return []
    wanted = set(COMBINATIONS[config.combination]) if config.combination else set(listed)
    everything = config.combination is None and config.rules == "auto"
    return [r for r in rules if r.name not in config.exclude and _allowed(r, config, wanted, everything)]


def _allowed(rule: Rewrite[Any], config: RewriteConfig, wanted: set[str], everything: bool) -> bool:
    if not rule.exact:
        return rule.name in config.approximate or rule.name in wanted
    return everything or rule.housekeeping or rule.name in wanted
