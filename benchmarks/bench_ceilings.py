"""Which part of an INT8 model loses the task's points: the same model with some of its roundings left out.

    N6_DATA=../shared/data python benchmarks/bench_ceilings.py [CASE ...] [--samples 200] [--draws 8]

A case is a model of ``bench_accuracy.py`` with a metric of its own. Rows are the INT8 model as n6convert makes it, with
weights that are not rounded (and its corrected biases or float's), with activations that are not, with those not that
one kind of operator gives (those in front of a Sigmoid on their own), and the float model whose outputs alone are
rounded. What a row loses no training of the other parts can bring back.

The last rows add white noise of so many dB to the float model's outputs and print the mean loss over some draws with
its scatter: as much is lost at that closeness by chance, whatever makes the errors. Where it scatters as wide as the
figure that is asked for, samples are too few to show that figure.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from bench_accuracy import CASES

if TYPE_CHECKING:
    from n6convert.metrics.base import Score
    from n6convert.pipeline.run import Run

Outputs = Sequence[np.ndarray]
_NOISE = (20.0, 25.0, 30.0, 35.0)
_HELD_BACK, _TOGETHER = 64, 8


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["pose", "efficientvit"], help=", ".join(CASES))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--draws", type=int, default=8, help="of noise")
    options = parser.parse_args()
    for name in options.cases:
        if CASES[name][1].exists() and CASES[name][3] is not None:
            compare(name, options.samples, options.draws)
        else:
            print(f"{name}: left out: no weights or no labels")


def compare(name: str, samples: int, draws: int) -> None:
    """The rows of one model."""
    case = Case(quantized(name, samples))
    print(f"{name}, {len(case.samples)} labeled samples: float {100 * case.reference.value:.2f}")
    for title, outputs in case.variants():
        case.show(title, outputs)
    for decibels in _NOISE:
        drops = [case.drop(case.noisy(decibels, seed)) for seed in range(draws)]
        print(f"  {f'float, noise of {decibels:g} dB':<44} {np.mean(drops):6.2f} +- {np.std(drops):.2f}", flush=True)


def quantized(name: str, samples: int) -> Run:
    """A run with all stages up to the quantizer's done."""
    from n6convert.api import make_draft
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import STAGES, run_stages
    from n6convert.recipe.checking import finish
    from n6convert.store.cache import Cache

    model, weights, calibration, evaluation, settings = CASES[name]
    given = {
        "weights": str(weights), "calibration.source": str(calibration), "calibration.samples": samples,
        "calibration.held_back": _HELD_BACK, "evaluation.source": str(evaluation), "tune.enabled": True,
    }  # fmt: skip
    draft = make_draft(model)
    for key, value in (given | settings).items():
        draft.set(tuple(key.split(".")), value, "benchmark")
    run = Run(finish(draft), draft, Cache(), lambda what, done, total: None)
    run_stages(run, [s for s in STAGES if s.name in ("export", "simplify", "rewrite", "quantize")])
    return run


class Case:
    """The float and the INT8 model of a run, and the labeled samples that neither calibration nor its judge saw."""

    def __init__(self, run: Run) -> None:
        from n6convert.pipeline.sampling import open_source
        from n6convert.pipeline.stages.quantize import FLOAT_FILE
        from n6convert.runtime.session import Session

        self.run = run
        self.model = run.artifacts["quantize"].load()
        self.prepared = ir.load(run.artifacts["quantize"].entry.folder / FLOAT_FILE)
        self.names = [v.name or "" for v in run.artifacts["export"].load().graph.outputs]
        seen = {s.sha256 for part in ("calibration", "held_back") for s in run.sampling.samples(part)}
        source = run.recipe.evaluation.source
        assert source is not None
        self.samples = [s for s in open_source(run, source, None) if s.sha256 not in seen]
        self.feeds = [run.encode(s) for s in self.samples]
        session = Session(self.prepared)
        self.exact = [list(session.run_on(f).values()) for f in self.feeds]
        self.reference = self.score(self.exact)

    def score(self, outputs: Sequence[Outputs]) -> Score:
        """The task's metric, of outputs by sample."""
        plugin = self.run.ready_plugin
        metric = plugin.metric()
        assert metric is not None
        for sample, values in zip(self.samples, outputs, strict=True):
            metric.add(sample, plugin.decode(dict(zip(self.names, values, strict=True)), sample))
        return metric.score()

    def drop(self, outputs: Sequence[Outputs]) -> float:
        """Points lost."""
        return 100 * (self.reference.value - self.score(outputs).value)

    def show(self, title: str, outputs: Sequence[Outputs]) -> None:
        """One line."""
        from n6convert.metrics.base import bootstrap_drop

        score = self.score(outputs)
        lost, found = 100 * (self.reference.value - score.value), bootstrap_drop(self.reference, score)
        interval = f"({100 * found.low:+.2f} to {100 * found.high:+.2f})" if found is not None else ""
        print(f"  {title:<44} {lost:6.2f} {interval:<18} {self.decibels(outputs):5.1f} dB", flush=True)

    def decibels(self, outputs: Sequence[Outputs]) -> float:
        """Mean SQNR of the outputs."""
        pairs = zip(zip(*self.exact, strict=True), zip(*outputs, strict=True), strict=True)
        found = [np.sum(np.square(a)) / max(np.sum(np.square(np.subtract(a, b))), 1e-30) for a, b in pairs]
        return float(np.mean(10 * np.log10(found)))

    def noisy(self, decibels: float, seed: int) -> list[list[np.ndarray]]:
        """The float outputs with white noise so far below them."""
        draw, share = np.random.default_rng(seed), 10 ** (-decibels / 20)
        sizes = [float(np.sqrt(np.mean(np.square(a)))) for a in zip(*self.exact, strict=True)]
        return [
            [
                (a + draw.standard_normal(a.shape) * share * size).astype(np.float32)
                for a, size in zip(row, sizes, strict=True)
            ]
            for row in self.exact
        ]

    def variants(self) -> Iterator[tuple[str, list[list[np.ndarray]]]]:
        """The INT8 model, and what is left of its errors without some of its roundings."""
        from n6convert.tuning.exact_weights import exact_weights
        from n6convert.tuning.parameters import Parameters

        state = Parameters(self.model, self.prepared).state()
        makers = made_by(self.model)
        ends = {v.producer().inputs[0].name for v in self.model.graph.outputs if v.producer() is not None}
        yield "INT8", self.outputs(state, ())
        corrected, exact = exact_weights(self.model, self.prepared, state)
        yield "weights exact", self.outputs(corrected, ())
        yield "weights and biases exact", self.outputs(exact, ())
        yield "activations exact", self.outputs(state, makers)
        for kind in sorted(set(makers.values())):
            yield f"exact: {kind}", self.outputs(state, [name for name, made in makers.items() if made == kind])
        yield "float, outputs rounded", self.outputs(exact, [name for name in makers if name not in ends])

    def outputs(self, state: Any, exact: Collection[str]) -> list[list[np.ndarray]]:
        """Of the INT8 graph in torch, by sample; quantizers whose results have these names round nothing."""
        import torch

        program, found = _unrounded(self.model, exact), []
        with torch.no_grad():
            for first in range(0, len(self.feeds), _TOGETHER):
                part = self.feeds[first : first + _TOGETHER]
                made = list(program.run(part, state).outputs.values())
                found += [[values[i].numpy() for values in made] for i in range(len(part))]
        return found


def made_by(model: ir.Model) -> dict[str, str]:
    """Quantized activations and what gives them."""
    found = {}
    for node in model.graph:
        if node.op_type == "QuantizeLinear" and (maker := node.inputs[0].producer()) is not None:
            readers = {n.op_type for d in node.outputs[0].consumers() for n in d.outputs[0].consumers()}
            found[node.outputs[0].name] = f"{maker.op_type}{', read by Sigmoid' if 'Sigmoid' in readers else ''}"
    return found


def _unrounded(model: ir.Model, exact: Collection[str]) -> Any:
    from n6convert.tuning.fake_quantization import Steps
    from n6convert.tuning.operators import Node
    from n6convert.tuning.program import Program

    names = set(exact)

    class Unrounded(Program):
        def _computed(self, node: Node, operands: list[Any], state: Any) -> Any:
            if node.op != "QuantizeLinear" or node.outputs[0] not in names:
                return super()._computed(node, operands, state)
            grid, value = self._grids[node.outputs[0]], operands[0]
            scale = state[grid.scale]
            steps = value.integers * (value.scale / scale) if isinstance(value, Steps) else value / scale
            return Steps(steps.clamp(grid.low, grid.high), scale)

    return Unrounded(model)


if __name__ == "__main__":
    main()
