"""The stages in order, each from the cache or made and checked, then the result published at once or not at all."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from n6convert.errors import N6ConvertError
from n6convert.logs import logger
from n6convert.pipeline.artifact import MODEL_FILE, Artifact, Inputs, StageResult
from n6convert.pipeline.stages.base import Stage
from n6convert.pipeline.stages.estimate import Estimate
from n6convert.pipeline.stages.evaluate import Evaluate
from n6convert.pipeline.stages.export import Export
from n6convert.pipeline.stages.lint import Lint
from n6convert.pipeline.stages.package import Package
from n6convert.pipeline.stages.quantize import Quantize
from n6convert.pipeline.stages.rewrite import Rewrite
from n6convert.pipeline.stages.simplify import Simplify
from n6convert.pipeline.stages.tune import Tune
from n6convert.store.cache import Entry, key_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from n6convert.pipeline.run import Progress, Run

_LOG = logger(__name__)

__all__ = ["STAGES", "execute", "run_stages"]

#: in the order in which they run
STAGES: tuple[Stage, ...] = (
    Export(),
    Simplify(),
    Rewrite(),
    Quantize(),
    Tune(),
    Lint(),
    Estimate(),
    Evaluate(),
    Package(),
)


def run_stages(run: Run, stages: Sequence[Stage] = STAGES) -> None:
    """Run every wanted stage; results are in ``run.artifacts`` afterwards.

    Raises:
        N6ConvertError: with the stage's name filled in; results of the stages before stay in the cache.
    """
    wanted = [stage for stage in stages if stage.wanted(run)]
    overall = run.progress
    for position, stage in enumerate(wanted):
        overall(stage.name, position, len(wanted))
        run.progress = _within(stage.name, overall)
        try:
            run.artifacts[stage.name] = execute(stage, run)
        finally:
            run.progress = overall
    overall("done", len(wanted), len(wanted))


def execute(stage: Stage, run: Run) -> Artifact:
    """One stage: its result from the cache, or made, flushed to disk and published under its key."""
    inputs = {name: _latest(stage, name, run) for name in stage.inputs}
    with _named(stage):
        key = key_of(
            {
                "inputs": {name: artifact.identity for name, artifact in inputs.items()},
                "parameters": stage.parameters(run),
                "code": run.code,
            }
        )
        entry = run.cache.find(stage.name, key)
        if entry is None:
            _LOG.debug("%s: no result under %s", stage.name, key)
            entry = _made(stage, run, inputs, key)
        _LOG.info("%s: %s, %.1f s", stage.name, "from the cache" if entry.reused else "made", entry.seconds)
        _LOG.debug("%s: %s", stage.name, entry.folder)
    return Artifact(stage.name, key, entry)


def _latest(stage: Stage, name: str, run: Run) -> Artifact:
    """The result of the stage of that name, or of the one that improved it before this stage."""
    better = [s.name for s in STAGES if s.improves == name and s.name in run.artifacts and s.name != stage.name]
    return run.artifacts[better[-1] if better else name]


def _made(stage: Stage, run: Run, inputs: Inputs, key: str) -> Entry:
    started = time.perf_counter()
    with run.cache.scratch() as folder, run.cache.scratch() as workspace:
        run.workspace = workspace
        result = stage.make(run, inputs)
        _write(result, folder)
        return run.cache.publish(stage.name, key, folder, result.facts, round(time.perf_counter() - started, 3))


def _write(result: StageResult, folder: Path) -> None:
    from n6convert.graph.io import save
    from n6convert.store.cache import write_atomically

    if result.model is not None:
        save(result.model, folder / MODEL_FILE)
    for name, content in result.files.items():
        write_atomically(folder / name, content)


@contextmanager
def _named(stage: Stage) -> Iterator[None]:
    try:
        yield
    except N6ConvertError as error:
        error.stage = error.stage or stage.name
        raise


def _within(stage: str, report: Progress) -> Progress:
    return lambda what, done, total: report(f"{stage}: {what}", done, total)
