"""``rewrite()``: which rules run on a model, what they did, and what each gained."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.errors import RecipeError, RewriteError
from n6convert.rewrites.base import Context, Rewrite
from n6convert.rewrites.catalog import COMBINATIONS, all_rules
from n6convert.rewrites.config import RewriteConfig
from n6convert.rewrites.engine import Applied, Progress, Refused, Run, run_rules
from n6convert.rewrites.prepare import prepare
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.weigh import Estimator, Weighed, predicted_milliseconds, version_of, weigh

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["RewriteResult", "rewrite", "select_rules"]

Feeds = Mapping[str, NDArray[Any]]


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
    """

    model: ir.Model
    applied: list[Applied]
    refused: list[Refused]
    before: float | None = None
    after: float | None = None
    gains: dict[str, float] = field(default_factory=dict)
    difference: float = 0.0
    approximate: list[str] = field(default_factory=list)

    def facts(self) -> dict[str, Any]:
        """JSON-ready account for ``report.json``."""
        counts = Counter(a.rule for a in self.applied)
        return {
            "applied": [
                {"rule": rule, "times": n, "gain_ms": self.gains.get(rule), "where": self._places(rule)}
                for rule, n in counts.items()
            ],
            "refused": [{"rule": r.rule, "where": r.place, "why": r.reason} for r in self.refused],
            "milliseconds": {"before": self.before, "after": self.after},
            "difference": self.difference,
            "approximate": self.approximate,
        }

    def _places(self, rule: str) -> list[str]:
        return [a.place for a in self.applied if a.rule == rule]


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
        RewriteError: the rules do not come to rest, or the result differs although every step was proven.
    """
    rules = select_rules(config, extra)
    start = prepare(model)
    proof = Proof(start, feeds, threads)
    context = Context(version_of(target), approximate=frozenset(config.approximate))

    def trial(chosen: Sequence[Rewrite[Any]]) -> Run:
        return run_rules(start, chosen, context, proof, None)

    timer = estimator or predicted_milliseconds(target)
    weighed = weigh(start, rules, trial, timer, progress) if timer is not None else Weighed(list(rules))
    original = proof.reference
    run = weighed.run
    if run is None or not _proves(run, weighed.rules, proof, config.tolerance):
        run = _proven(start, weighed.rules, context, proof, config.tolerance, progress)
    used = {a.rule for a in run.applied if not a.exact}
    _conclude(run, proof.distance(original, run.model), config.tolerance if not used else None)
    refused = [*run.refused.values(), *weighed.refused]
    gains = {k: v for k, v in weighed.gains.items() if any(a.rule == k for a in run.applied)}
    after = timer(run.model) if timer is not None else None
    return RewriteResult(run.model, run.applied, refused, weighed.before, after, gains, run.difference, sorted(used))


def _proven(
    start: ir.Model,
    rules: Sequence[Rewrite[Any]],
    context: Context,
    proof: Proof,
    tolerance: float,
    progress: Progress | None,
) -> Run:
    """Prove exact rules at the end, all at once; only when that fails, or with approximate rules, step by step."""
    if all(rule.exact for rule in rules):
        run = run_rules(start, rules, context, proof, None, progress)
        if _proves(run, rules, proof, tolerance):
            return run
    return run_rules(start, rules, context, proof, tolerance, progress)


def _proves(run: Run, rules: Sequence[Rewrite[Any]], proof: Proof, tolerance: float) -> bool:
    return all(rule.exact for rule in rules) and proof.difference(run.model) <= tolerance


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


def _conclude(run: Run, difference: float, tolerance: float | None) -> None:
    run.difference = difference
    if tolerance is not None and difference > tolerance:
        raise RewriteError("the rewritten graph answers differently", limit=tolerance, found=difference)
