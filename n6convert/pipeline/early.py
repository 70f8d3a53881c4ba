"""Which stages wait for which, and what is done of their work while others are made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from n6convert.errors import ToolError
from n6convert.pipeline.stages.base import Stage
from n6convert.runtime.aside import Aside, can_fork

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

__all__ = ["Early", "independent"]


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


class Early:
    """What stages do before their inputs are complete, in one copy of this process; ended with the block.

    Args:
        run: gets the results as ``early``.
        stages: of the run.
    """

    def __init__(self, run: Run, stages: Sequence[Stage]) -> None:
        self._run, self._stages = run, [s for s in stages if s.early_inputs]
        self._aside: Aside[dict[str, Any]] | None = None
        self._results: dict[str, Any] | None = None

    def __enter__(self) -> Early:
        self._run.early = self.of
        return self

    def __exit__(self, *exception: object) -> None:
        if self._aside is not None:
            self._aside.close()

    def may_begin(self, group: Sequence[Stage]) -> bool:
        """Whether it has not begun, inputs are there, a core is free, and the next stages are none of those."""
        if self._aside is not None or not self._stages or any(s in self._stages for s in group):
            return False
        there = all(name in self._run.artifacts for s in self._stages for name in s.early_inputs)
        return there and can_fork()

    def begin(self) -> None:
        """Start the work."""
        run = self._run

        def work() -> dict[str, Any]:
            run.progress = lambda what, done, total: None
            inputs = [{name: run.artifacts[name] for name in s.early_inputs} for s in self._stages]
            return {s.name: s.early(run, given) for s, given in zip(self._stages, inputs, strict=True)}

        self._aside = Aside(work)

    def of(self, stage: str) -> Any:
        """A stage's results; None where there are none."""
        if self._aside is None:
            return None
        if self._results is None:
            try:
                self._results = self._aside.result()
            except ToolError:
                self._results = {}
        return self._results.get(stage)
