"""Calibration and held-back samples of a run, apart from each other by position and recorded by hash."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from n6convert.errors import SourceError
from n6convert.plugin_errors import plugin_errors
from n6convert.samples.base import Sample, SampleSource
from n6convert.samples.listed import ListedSource

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

    from n6convert.plugin import Feeds, ModelPlugin
    from n6convert.recipe.schema import Recipe

__all__ = ["Asking", "Sampling", "attributing_to", "open_source"]

#: bytes of the samples of one part that are kept, at most: reading and drawing them again takes longer
_KEPT_BYTES = 1 << 26


class Asking(Protocol):
    """What samples need to know of the run that asks for them."""

    recipe: Recipe
    entry: EntryPoint

    @property
    def ready_plugin(self) -> ModelPlugin:
        """The plugin, knowing the model."""

    def encode(self, sample: Sample) -> Feeds:
        """A sample as the graph takes it."""


@contextmanager
def attributing_to(samples: str) -> Iterator[None]:
    """Say which samples are at fault, not which stage happened to read them first."""
    try:
        yield
    except SourceError as error:
        error.stage = error.stage or samples
        raise


def open_source(run: Asking, path: str, limit: int | None) -> SampleSource:
    """Samples a user gave, as the model looks at them.

    Args:
        run: knows the model.
        path: folder or file.
        limit: samples at the most; None: all.

    Raises:
        SourceError: missing, empty, or of another kind than the model takes.
    """
    return _prepared(run, _opened(run, path, limit))


def _opened(run: Asking, path: str, limit: int | None) -> SampleSource:
    from n6convert.samples import open_samples

    plugin, tolerated = run.ready_plugin, run.recipe.calibration.max_unreadable
    return open_samples(
        path, plugin.sample_kind, plugin.info, limit=limit, max_unreadable=tolerated, ready=plugin.takes_ready_inputs
    )


def _prepared(run: Asking, source: SampleSource) -> SampleSource:
    with plugin_errors(run.entry, "prepare"):
        return run.ready_plugin.prepare(source)


def _apart(run: Asking, path: str, limit: int) -> SampleSource:
    """Calibration samples that leave labeled images to be judged on, where both sources name the same files.

    Other files are preferred; when they are too few, every second shared one calibrates.
    """
    with attributing_to("evaluation samples"):
        labeled = _opened(run, str(run.recipe.evaluation.source), None)
    source = _opened(run, path, None)
    if not isinstance(source, ListedSource) or not isinstance(labeled, ListedSource) or not source.paths():
        return _opened(run, path, limit)
    judged = {file.resolve() for file in labeled.paths()}
    shared = [i for i, file in enumerate(source.paths()) if file.resolve() in judged]
    others = sorted(set(range(len(source.items))) - set(shared))
    source.keep(others if len(others) >= limit else sorted(others + shared[::2]), limit)
    return source


class _Kept:
    """Samples as long as their data stay small together; then none."""

    def __init__(self) -> None:
        self.samples: list[Sample] | None = []
        self._bytes = 0

    def add(self, sample: Sample) -> None:
        """Keep one more."""
        parts = sample.data.values() if isinstance(sample.data, Mapping) else [sample.data]
        self._bytes += sum(len(p) if isinstance(p, str) else p.nbytes for p in parts)
        if self._bytes > _KEPT_BYTES:
            self.samples = None
        elif self.samples is not None:
            self.samples += _copies([sample])


def _copies(samples: Iterable[Sample]) -> Iterator[Sample]:
    """The samples with data of their own, which a plugin may change."""
    return (replace(sample, data=deepcopy(sample.data)) for sample in samples)


class Sampling:
    """Samples of the recipe's ``calibration`` section.

    Of the samples there are, at most ``samples + held_back`` are used; the held-back ones are spread evenly among
    them. Where there are fewer, a quarter of them at most is held back.
    """

    def __init__(self, run: Asking) -> None:
        self._run = run
        self._config = run.recipe.calibration
        self.hashes: dict[str, dict[str, str]] = {"calibration": {}, "held_back": {}}
        self._kept: Mapping[str, Sequence[Sample]] = {}

    @cached_property
    def source(self) -> SampleSource:
        """Opened source; raises SourceError when there is nothing to calibrate on."""
        with attributing_to("calibration samples"):
            return self._open()

    def _open(self) -> SampleSource:
        config = self._config
        if config.source is None:
            with plugin_errors(self._run.entry, "samples"):
                source = self._run.ready_plugin.samples()
        else:
            source = self._opened(config.source, config.samples + config.held_back)
        if len(source) == 0:
            raise SourceError(
                "there are no calibration samples",
                place=config.source or source.name,
                remedy="give a folder that holds some with --calibration, or leave it out for the embedded ones",
            )
        return source

    def _opened(self, path: str, limit: int) -> SampleSource:
        if self._run.recipe.evaluation.source is None:
            return open_source(self._run, path, limit)
        return _prepared(self._run, _apart(self._run, path, limit))

    def key(self) -> dict[str, Any]:
        """What decides the samples, without decoding any: the recipe's section and the hashes of the files."""
        section = self._config.model_dump(mode="json")
        if self._config.source is None:
            return section | {"seed": self._run.recipe.seed}
        from n6convert.samples import fingerprint_samples

        judged = self._run.recipe.evaluation.source
        wanted = None if judged else self._config.samples + self._config.held_back
        section["source"] = fingerprint_samples(self._config.source, limit=wanted)
        return section | {"apart_from": fingerprint_samples(judged, limit=0) if judged else None}

    def calibration(self) -> Iterator[Feeds]:
        """Encoded calibration samples, from the first one on each call."""
        return (self._run.encode(sample) for sample in self.samples("calibration"))

    def held_back(self) -> Iterator[Feeds]:
        """Encoded samples that calibration did not see; the calibration samples when there are too few."""
        return (self._run.encode(sample) for sample in self.judging())

    def first(self, count: int) -> list[Feeds]:
        """A few encoded samples for checks."""
        return [feeds for feeds, _ in zip(self.calibration(), range(count), strict=False)]

    def judging(self) -> Iterator[Sample]:
        """Samples on which the result is judged: the held-back ones, or the calibration samples when there are none."""
        return self.samples("held_back" if self._held_back_positions else "calibration")

    def samples(self, part: str) -> Iterator[Sample]:
        """Samples of ``calibration`` or ``held_back``, in order; kept once they were all read, where they are small."""
        for sample in _copies(self._kept[part]) if part in self._kept else self._read(part):
            self.hashes[part][sample.id] = sample.sha256
            yield sample

    def _read(self, part: str) -> Iterator[Sample]:
        held, found = self._held_back_positions, {"held_back": _Kept(), "calibration": _Kept()}
        with attributing_to("calibration samples"):
            for position, sample in enumerate(self.source):
                if position >= self._used:
                    break
                own = "held_back" if position in held else "calibration"
                found[own].add(sample)
                if own == part:
                    yield sample
        self._kept = {name: kept.samples for name, kept in found.items() if kept.samples is not None}

    def count(self, part: str) -> int:
        """How many samples ``calibration`` or ``held_back`` gives; fewer where some cannot be read."""
        held = len(self._held_back_positions)
        return held if part == "held_back" else self._used - held

    def facts(self) -> dict[str, Any]:
        """For the report and the manifest, after the samples were used."""
        source = self.source
        return {
            "source": Path(self._config.source).name if self._config.source else source.name,
            "synthetic": source.synthetic,
            "calibration": [{"id": i, "sha256": h} for i, h in self.hashes["calibration"].items()],
            "held_back": [{"id": i, "sha256": h} for i, h in self.hashes["held_back"].items()],
            "warnings": self._warnings(),
        }

    @property
    def _used(self) -> int:
        return min(len(self.source), self._config.samples + self._config.held_back)

    @cached_property
    def _held_back_positions(self) -> frozenset[int]:
        beyond = self._used - self._config.samples
        count = min(self._config.held_back, max(self._used // 4, beyond))
        return frozenset((2 * i + 1) * self._used // (2 * count) for i in range(count))

    def _warnings(self) -> list[str]:
        warnings = list(self.source.warnings())
        if self.source.synthetic:
            warnings.append(
                f"calibration was synthetic ({self.source.name}): ranges and accuracy of real input may differ; "
                "give real samples with --calibration"
            )
        if not self._held_back_positions:
            warnings.append("too few samples to hold any back: SQNR was measured on the calibration samples")
        return warnings
