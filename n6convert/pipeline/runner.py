"""The stages in order, each from the cache or made and checked, then the result published at once or not at all."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from n6convert.errors import N6ConvertError, ToolError
from n6convert.logs import logger
from n6convert.pipeline.artifact import MODEL_FILE, Artifact, Inputs, StageResult
from n6convert.pipeline.early import Early, independent, silence
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
from n6convert.runtime.aside import Aside, can_fork
from n6convert.runtime.garbage import rare_collections
from n6convert.runtime.threads import default_threads
from n6convert.store.cache import Entry, key_of
from n6convert.types import within

if TYPE_CHECKING:
    from pathlib import Path

    from n6convert.pipeline.run import Run

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
    overall, told = run.progress, 0
    many = default_threads() > 1
    if many:
        run.waiting = partial(_import, [module for stage in wanted for module in stage.modules])
    with rare_collections(), run.ending, Early(run, wanted, _latest) as early:
        for stage in wanted if many and wanted and _is_missing(wanted[0], run) else ():
            stage.begin(run)
        for stages in (part for group in independent(wanted) for part in _parts(group, run)):
            for stage in stages:
                overall(stage.name, told, len(wanted))
                told += 1
            run.progress = within(stages[-1].name, overall)
            try:
                ready = early.take(stages) if can_fork() and _is_missing(stages[-1], run) else []
                _execute_together(stages, run, early, ready)
            finally:
                run.progress = overall


def _import(modules: Sequence[str]) -> None:
    for module in modules:
        import_module(module)


def _parts(group: Sequence[Stage], run: Run) -> Iterator[Sequence[Stage]]:
    """Stages that do not read each other: together where a copy of this process can make some of them."""
    if len(group) > 1 and can_fork() and _is_missing(group[-1], run):
        yield group
    else:
        yield from ([stage] for stage in group)


def _execute_together(stages: Sequence[Stage], run: Run, early: Early, ready: Sequence[Stage]) -> None:
    """The last of the stages here, those before it in a copy of this process beside it; their errors come first.

    Args:
        ready: stages a part of whose work is done in that copy as well.
    """
    *others, last = stages
    if not others:
        early.begin(ready)
        run.artifacts[last.name] = execute(last, run)
        return
    early.collect()  # a copy cannot wait for another one

    def beside_it() -> tuple[list[Artifact], dict[str, Any]]:
        silence(run)
        return [execute(stage, run) for stage in others], early.work(ready)

    here: Artifact | Exception
    with closing(Aside(beside_it)) as beside:
        try:
            here = execute(last, run)
        except Exception as error:
            here = error
        try:
            made, done = beside.result()
            run.artifacts |= {artifact.stage: artifact for artifact in made}
            early.add(done)
        except ToolError as error:
            _LOG.info("%s: made again here, since %s", ", ".join(s.name for s in others), error)
            for stage in others:
                run.artifacts[stage.name] = execute(stage, run)
    if isinstance(here, Exception):
        raise here
    run.artifacts[last.name] = here


def _is_missing(stage: Stage, run: Run) -> bool:
    """Whether a stage's result must be made."""
    return _found(stage, run)[2] is None


def execute(stage: Stage, run: Run) -> Artifact:
    """One stage: its result from the cache, or made, flushed to disk and published under its key."""
    with _named(stage):
        key, inputs, entry = _found(stage, run)
        run.found.pop(stage.name)
        if entry is None:
            _LOG.debug("%s: no result under %s", stage.name, key)
            entry = _made(stage, run, inputs, key)
        _LOG.info("%s: %s, %.1f s", stage.name, "from the cache" if entry.reused else "made", entry.seconds)
        _LOG.debug("%s: %s", stage.name, entry.folder)
    return Artifact(stage.name, key, entry)


def _found(stage: Stage, run: Run) -> tuple[str, Inputs, Entry | None]:
    """A stage's key, what it reads, and its result in the cache; looked up once for what it reads."""
    inputs = {name: _latest(stage, name, run) for name in stage.inputs}
    read: dict[str, Any] = {name: artifact.identity for name, artifact in inputs.items()}
    known = run.found.get(stage.name)
    if known is None or known[0] != read:
        key = key_of({"inputs": read, "parameters": stage.parameters(run), "code": run.code})
        run.found[stage.name] = known = (read, key, run.cache.find(stage.name, key))
    return known[1], inputs, known[2]


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
    from n6convert.store.cache import write_all

    if result.model is not None:
        save(result.model, folder / MODEL_FILE)
    write_all({folder / name: content for name, content in result.files.items()})


@contextmanager
def _named(stage: Stage) -> Iterator[None]:
    try:
        yield
    except N6ConvertError as error:
        error.stage = error.stage or stage.name
        raise
