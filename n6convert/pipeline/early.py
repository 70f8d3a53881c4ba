"""Which stages wait for which, and what is done of their work while others are made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from n6convert.errors import ToolError
from n6convert.logs import logger
from n6convert.pipeline.stages.base import Stage
from n6convert.runtime.aside import Aside

if TYPE_CHECKING:
    from n6convert.pipeline.artifact import Artifact
    from n6convert.pipeline.run import Run

__all__ = ["Early", "independent", "silence"]

_LOG = logger(__name__)


def independent(stages: Sequence[Stage]) -> list[list[Stage]]:
    """The stages in order, in groups of neighbors of which none reads what another one made."""
    groups: list[list[Stage]] = []
    for stage in stages:
        made = {name for other in groups[-1] for name in (other.name, other.improves)} if groups else {""}
        if not groups or not made.isdisjoint((*stage.inputs, stage.improves or stage.name)):
            groups.append([stage])
        else:
            groups[-1].append(stage)
    return groups


def silence(run: Run) -> None:
    """Say nothing of progress: in a copy of the process, whose lines would stand between those of this one."""
    run.progress = lambda what, done, total: None


class Early:
    """What stages do before their inputs are complete, in copies of this process; ended with the block.

    Args:
        run: gets the results as ``early``.
        stages: of the run.
        input_of: finds what a stage reads, by the name of the stage that made it.
    """

    def __init__(self, run: Run, stages: Sequence[Stage], input_of: Callable[[Stage, str, Run], Artifact]) -> None:
        self._run, self._left, self._input_of = run, [s for s in stages if s.early_inputs], input_of
        self._at_work: list[Aside[dict[str, Any]]] = []
        self._results: dict[str, Any] = {}

    def __enter__(self) -> Early:
        self._run.early = self.of
        return self

    def __exit__(self, *exception: object) -> None:
        for copy in self._at_work:
            copy.close()

    def take(self, following: Sequence[Stage]) -> list[Stage]:
        """Stages some of whose work can be done while the following ones are made."""
        there = self._run.artifacts.keys()
        ready = [s for s in self._left if s not in following and there >= set(s.early_inputs)]
        self._left = [s for s in self._left if s not in ready]
        return ready

    def begin(self, stages: Sequence[Stage]) -> None:
        """Start the work."""
        if stages:
            self._at_work.append(Aside(partial(self.work, stages), hurried=False))

    def work(self, stages: Sequence[Stage]) -> dict[str, Any]:
        """Do the work, in a copy of this process."""
        run = self._run
        silence(run)
        inputs = [{name: self._input_of(stage, name, run) for name in stage.early_inputs} for stage in stages]
        return {stage.name: stage.early(run, given) for stage, given in zip(stages, inputs, strict=True)}

    def add(self, results: Mapping[str, Any]) -> None:
        """Keep what :meth:`work` gave elsewhere."""
        self._results.update(results)

    def collect(self) -> None:
        """Wait for all copies; what one of them does not give is done by the stage itself."""
        while self._at_work:
            try:
                self.add(self._at_work.pop(0).result())
            except ToolError as error:
                _LOG.info("work that was begun early is done again, since %s", error)

    def of(self, stage: str) -> Any:
        """A stage's results; None where there are none."""
        self.collect()
        return self._results.get(stage)
