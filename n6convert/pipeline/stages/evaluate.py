"""How good INT8 is against float: SQNR of every output, and the task's own metric where there are labels."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from io import BytesIO
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import SourceError
from n6convert.pipeline.artifact import Inputs, StageResult
from n6convert.pipeline.early import silence
from n6convert.pipeline.stages.base import Stage
from n6convert.pipeline.stages.export import GIVEN
from n6convert.plugin_errors import plugin_errors
from n6convert.runtime.aside import begun
from n6convert.runtime.comparison import Noise
from n6convert.runtime.threads import mapped

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.metrics.base import Metric, Score
    from n6convert.pipeline.run import Run
    from n6convert.plugin import Feeds, Outputs, Sample
    from n6convert.runtime.session import Session
    from n6convert.samples.base import SampleSource

__all__ = [
    "SEEN",
    "Evaluate",
    "Pair",
    "answers_of",
    "drop_in_points",
    "labeled",
    "metric_of",
    "check_measurable_samples",
]

PICTURES = "pictures"
#: a picture's file name keeps this much of its sample's
_STEM_LENGTH = 60
#: of pictures: 6 % larger than by default, in less than half the time
_COMPRESSION = 2
#: samples that had a say in the INT8 model: ranges, choice of methods, whether they suffice
SEEN = ("calibration", "held_back", "accepting")


class Evaluate(Stage):
    """Compares with the exported model, so that losses of every stage in between are in the figures."""

    name = "evaluate"
    inputs = ("export", "quantize")
    early_inputs = ("export",)
    modules = ("n6convert.metrics.detection",)

    def parameters(self, run: Run) -> Mapping[str, Any]:
        section = run.recipe.evaluation
        parts = section.model_dump(mode="json") | {"calibration": run.sampling.key(), "seed": run.recipe.seed}
        if section.source is not None:
            from n6convert.samples import fingerprint_samples

            parts["source"] = fingerprint_samples(section.source, limit=section.samples)
        return parts

    def early(self, run: Run, inputs: Inputs) -> Any:
        """What the exported model says of the labeled samples, in their order."""
        from n6convert.runtime.session import Session

        if run.recipe.evaluation.source is None:
            return None
        session = Session(inputs["export"].model_path, threads=1)
        return [answer for _, answer in answers_of(run, session, labeled(run), threads=1)]

    def make(self, run: Run, inputs: Inputs) -> StageResult:
        from n6convert.runtime.session import Session

        exported, quantized = (Session(inputs[name].model_path, threads=1) for name in ("export", "quantize"))
        pair = Pair(run, exported, quantized)
        measure = partial(_sqnr, pair, run, inputs["export"].load().graph)
        facts: dict[str, Any]
        if run.recipe.evaluation.source is not None:
            with begun(measure, partial(silence, run)) as sqnr:
                found = _judged(pair, run, inputs)
                facts = {"sqnr_db": sqnr()}
        else:  # the same samples: it draws them
            facts = {"sqnr_db": measure()}
            found = _judged(pair, run, inputs) if _needs_no_labels(run) else {}
        facts |= _against_given(pair, run, inputs["export"].entry.folder / GIVEN)
        warnings = [*facts.get("warnings", []), *found.get("warnings", [])]
        return StageResult(facts | found | ({"warnings": warnings} if found else {}), files=pair.pictures)


def _judged(pair: Pair, run: Run, inputs: Inputs) -> dict[str, Any]:
    """Facts by the task's own metric."""
    samples, tuning = (inputs["quantize"].facts.get(name, {}) for name in ("samples", "tuning"))
    found = _accuracy(pair, run, samples)
    if tuning.get("kept"):
        found["accuracy"]["untuned"] = _untuned(run, samples)
    return found


def _against_given(pair: Pair, run: Run, path: Path) -> dict[str, Any]:
    """SQNR of the result, and of the float model between, against the quantized model that was given."""
    from n6convert.runtime.session import Session

    if not path.exists():
        return {}
    given, noise, between = Session(path), dict[str, Noise](), dict[str, Noise]()
    for sample in run.sampling.judging():
        feeds = run.encode(sample)
        exact = given.run(feeds)
        reference, quantized = pair.outputs(feeds)
        for name, array in exact.items():
            noise.setdefault(name, Noise()).add(array, quantized[name])
            between.setdefault(name, Noise()).add(array, reference[name])
    figures, floats = ({name: n.sqnr_db for name, n in found.items()} for found in (noise, between))
    text, other = (", ".join(f"{n} {_decibel(f)}" for n, f in part.items()) for part in (figures, floats))
    note = f"against the quantized file that was given: {text} (what its own rounding does to the float model: {other})"
    return {"given_sqnr_db": figures, "given_float_sqnr_db": floats, "warnings": [note]}


def _decibel(figure: float | None) -> str:
    return "equal" if figure is None else f"{figure:.1f} dB"


@dataclass
class Pair:
    """The float and the INT8 model side by side."""

    run: Run
    reference: Session
    quantized: Session
    pictures: dict[str, bytes] = field(default_factory=dict)

    def outputs(self, feeds: Feeds) -> tuple[Outputs, Outputs]:
        """Both models' outputs under the float model's names; outputs are matched by position."""
        a, b = self.reference.run(feeds), self.quantized.run(feeds)
        return a, dict(zip(a, b.values(), strict=True))

    def over(self, samples: Iterable[Sample]) -> Iterator[tuple[Sample, Feeds, tuple[Outputs, Outputs]]]:
        """Samples, encoded, and both models' outputs for them; several run at once."""

        def both(encoded: tuple[Sample, Feeds]) -> tuple[Sample, Feeds, tuple[Outputs, Outputs]]:
            return *encoded, self.outputs(encoded[1])

        yield from mapped(both, ((sample, self.run.encode(sample)) for sample in samples))

    def answers(self, samples: Iterable[tuple[Sample, Any]]) -> Iterator[tuple[Sample, tuple[Any, Any]]]:
        """Samples and what both models say of them; beside a sample what the float model says, None: not known."""

        def outputs(given: tuple[Sample, Any, Feeds]) -> tuple[Sample, Any, Outputs | None, Outputs]:
            sample, known, feeds = given
            if known is None:
                return sample, known, *self.outputs(feeds)
            found = self.quantized.run(feeds)
            return sample, known, None, dict(zip(self.reference.outputs, found.values(), strict=True))

        encoded = ((sample, known, self.run.encode(sample)) for sample, known in samples)
        for sample, known, reference, quantized in mapped(outputs, encoded):
            answer = known if reference is None else _decoded(self.run, reference, sample)
            yield sample, (answer, _decoded(self.run, quantized, sample))

    def decoded(self, outputs: tuple[Outputs, Outputs], sample: Sample) -> tuple[Any, Any]:
        """Both models' outputs as answers of the plugin."""
        return _decoded(self.run, outputs[0], sample), _decoded(self.run, outputs[1], sample)

    def draw(self, sample: Sample, *predictions: Any) -> None:
        """Keep a picture of both predictions while fewer than the recipe asks for were drawn."""
        if len(self.pictures) >= self.run.recipe.evaluation.pictures:
            return
        with plugin_errors(self.run.entry, f"draw of sample {sample.id}"):
            image = self.run.ready_plugin.draw(sample, *predictions)
        if image is not None:
            stream = BytesIO()
            image.save(stream, "PNG", compress_level=_COMPRESSION)
            stem = re.sub(r"[^\w.-]+", "_", sample.id)[-_STEM_LENGTH:]
            self.pictures[f"{PICTURES}/{len(self.pictures):02d}-{stem}.png"] = stream.getvalue()


def answers_of(
    run: Run, session: Session, samples: Iterable[Sample], threads: int | None = None
) -> Iterator[tuple[Sample, Any]]:
    """Samples and what one model says of them; several run at once."""

    def outputs(given: tuple[Sample, Feeds]) -> tuple[Sample, Outputs]:
        return given[0], session.run(given[1])

    for sample, found in mapped(outputs, ((sample, run.encode(sample)) for sample in samples), threads):
        yield sample, _decoded(run, found, sample)


def _decoded(run: Run, outputs: Outputs, sample: Sample) -> Any:
    with plugin_errors(run.entry, f"decode of sample {sample.id}"):
        return run.ready_plugin.decode(outputs, sample)


def _sqnr(pair: Pair, run: Run, graph: ir.Graph) -> dict[str, float | None]:
    """SQNR in dB of each output over the held-back samples, without their padding; None for equal outputs."""
    from n6convert.quantization.padding import tokens_of, without_padding

    noise: dict[str, Noise] = {}
    show = run.recipe.evaluation.source is None and run.weights.trained and not run.sampling.source.synthetic
    for count, (sample, feeds, (reference, quantized)) in enumerate(pair.over(run.sampling.judging())):
        run.progress("float against INT8", count, None)
        tokens = tokens_of(graph, feeds)
        for name, array in reference.items():
            noise.setdefault(name, Noise()).add(*(without_padding(a, tokens) for a in (array, quantized[name])))
        if show:
            pair.draw(sample, *pair.decoded((reference, quantized), sample))
    return {name: n.sqnr_db for name, n in noise.items()}


def _accuracy(pair: Pair, run: Run, calibration: Mapping[str, Any]) -> dict[str, Any]:
    from n6convert.metrics.base import bootstrap_drop

    given = run.recipe.evaluation.source is not None
    seen = {s["sha256"] for part in SEEN for s in calibration.get(part, [])} if given else set()
    metrics = metric_of(run), metric_of(run)
    used: list[dict[str, str]] = []
    overlapping = 0
    early = run.early(Evaluate.name) if given else None

    def unseen() -> Iterator[tuple[Sample, Any]]:
        nonlocal overlapping
        for sample, known in zip(
            labeled(run) if given else run.sampling.judging(), early or repeat(None), strict=False
        ):
            overlapping += sample.sha256 in seen
            if sample.sha256 not in seen:
                yield sample, known

    for sample, predictions in pair.answers(unseen()):
        known = replace(sample, label=predictions[0]) if metrics[0].against_float else sample
        for metric, prediction in zip(metrics, predictions, strict=True):
            with plugin_errors(run.entry, f"metric on sample {sample.id}"):
                metric.add(known, prediction)
        pair.draw(sample, *predictions)
        used.append({"id": sample.id, "sha256": sample.sha256})
        run.progress("samples", len(used), None)
    _refuse_empty(run, used, overlapping)
    float_score, int8_score = (metric.score() for metric in metrics)
    interval = bootstrap_drop(float_score, int8_score, seed=run.recipe.seed)
    facts: dict[str, Any] = {"accuracy": _summary(float_score, int8_score, interval), "samples": used}
    facts["accuracy"]["overlapping"] = overlapping
    if overlapping:
        facts["warnings"] = [f"{overlapping} labeled samples were left out: calibration had seen them"]
    return facts


def _untuned(run: Run, calibration: Mapping[str, Any]) -> float:
    """What the INT8 model reached before it was tuned."""
    from n6convert.runtime.session import Session

    exported, quantized = (Session(run.artifacts[name].model_path, threads=1) for name in ("export", "quantize"))
    pair = Pair(run, exported, quantized, pictures=dict.fromkeys(map(str, range(run.recipe.evaluation.pictures)), b""))
    return float(_accuracy(pair, run, calibration)["accuracy"]["int8"])


def _summary(reference: Score, quantized: Score, interval: Any) -> dict[str, Any]:
    """Values in points: shares times 100, so that the drop is their difference; errors as they are."""
    points = 100 if reference.higher_is_better else -1
    return {
        "metric": reference.name,
        "unit": reference.unit,
        "float": abs(points) * reference.value,
        "int8": abs(points) * quantized.value,
        "drop": drop_in_points(reference, quantized),
        "samples": reference.samples,
        "interval": [abs(points) * interval.low, abs(points) * interval.high] if interval else None,
        "details": {"float": dict(reference.details), "int8": dict(quantized.details)},
    }


def drop_in_points(reference: Score, quantized: Score) -> float:
    """What INT8 loses: shares in points, errors as they are; above 0 is worse."""
    return (100 if reference.higher_is_better else -1) * (reference.value - quantized.value)


def check_measurable_samples(run: Run) -> None:
    """Raise SourceError for labeled samples that cannot be opened or judged, before minutes go into anything else."""
    if run.recipe.evaluation.source is not None:
        metric_of(run)
        labeled(run)


def labeled(run: Run) -> Iterator[Sample]:
    """The recipe's labeled samples, opened at once; raises SourceError that blames them."""
    from n6convert.pipeline.sampling import attributing_to, open_source

    section = run.recipe.evaluation

    def read(source: SampleSource) -> Iterator[Sample]:
        with attributing_to("evaluation samples"):
            yield from source

    with attributing_to("evaluation samples"):
        return read(open_source(run, str(section.source), section.samples))


def _needs_no_labels(run: Run) -> bool:
    with plugin_errors(run.entry, "metric"):
        metric = run.ready_plugin.metric()
    return metric is not None and metric.against_float and run.weights.trained


def metric_of(run: Run) -> Metric:
    """A fresh metric of the model's task; raises SourceError where it has none."""
    with plugin_errors(run.entry, "metric"):
        metric = run.ready_plugin.metric()
    if metric is None:
        raise SourceError(
            "labeled samples were given, but this model has no metric",
            place=run.recipe.evaluation.source,
            remedy="leave --evaluate out: SQNR against float is reported instead",
        )
    return metric


def _refuse_empty(run: Run, used: list[Any], overlapping: int) -> None:
    if used:
        return
    raise SourceError(
        "no labeled samples are left to judge the model on",
        place=run.recipe.evaluation.source,
        limit="samples that calibration did not see",
        found=f"{overlapping} samples, all used for calibration",
        remedy="calibrate on other samples, or on fewer with --samples",
    )
