"""Four-bit weights and training on real models: accuracy, flash and time before and after.

    N6_DATA=../shared/data python benchmarks/bench_tune.py [CASE[:BITS] ...] [--samples 200] [--minutes 10]
        [--nncf PYTHON]

A case is a model of ``bench_accuracy.py``; ``BITS`` is ``int8`` (default), ``int4`` or ``mixed``. Both models come from
one run of ``n6convert tune``, so that they differ in their numbers alone, and are judged by the task's own metric on
labeled samples that neither calibration nor training saw. "closeness" is that of the outputs to float on held-back
samples, in dB, with the 95 % interval of the gain by a paired bootstrap: training is kept only where that lies above
zero. "exact" is what closeness would gain if no weight were rounded. Flash (constants) and predicted time are those of
eight bits and of the bits asked for, as predicted. Seconds of the processor count the whole conversion, training alone,
the quantizer's default methods, and what choosing and rounding for four bits takes beside them. ``--minutes 0`` does
not train.

``--nncf`` names the Python of an environment with NNCF, torch and onnx2torch (``make bench-tune`` makes one where it
can): below our row stands NNCF's quantization-aware training (``peer_training.py``) of the same float model, before
rewrites, on the same samples, for as many seconds of the processor as our training took. It is judged alike. Its
files are not the NPU's: in place of flash and time stands how many nodes still compute in floating point (ours: 0).
``mixed`` rows are left out, as NNCF gives all layers one width.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx_ir as ir
from bench_accuracy import CASES, float_nodes, judge, prepare
from bench_quantize import measure
from quantizers import reader

DEFAULT = ("tinybert:int4", "movenet:mixed", "mobilenetv2:int4", "yolov8n-256:mixed", "efficientvit")
#: samples that decide whether training is kept
HELD_BACK = 64


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(DEFAULT), help=", ".join(CASES))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--set", action="append", default=[], help="further settings, such as acceptance.max_drop=1")
    parser.add_argument("--nncf", help="python of an environment with NNCF; without it its rows stay out")
    options = parser.parse_args()
    if options.nncf and not Path(options.nncf).exists():
        print(f"NNCF is left out: there is no {options.nncf}")
        options.nncf = None
    scores = f"{'float':>6} {'before':>6} {'after':>6} {'lost, 95 %':>22}"
    costs = f"{'layers':>8} {'steps':>6} {'CPU s':>6} {'train':>6} {'int8 s':>6} {'4 bits s':>14} {'peak MB':>8}"
    gains = f"{'closeness dB':>14} {'exact':>6} {'gain dB, 95 %':>22} {'kept':>5}"
    print(f"{'model':<18} {scores} {gains} {'flash KiB':>12} {'ms':>14} {costs}", flush=True)
    for case in options.cases:
        name, _, bits = case.partition(":")
        if not CASES[name][1].exists():
            print(f"{case:<16} left out: there is no {CASES[name][1]}")
            continue
        # a process of its own for each, so that peaks of memory do not mix
        if os.fork() == 0:
            line, seconds = row(name, bits or "int8", options.samples, options.minutes, options.set)
            print(line, flush=True)
            if options.nncf:
                print(peer_row(name, bits or "int8", options.samples, seconds, options.nncf), flush=True)
            os._exit(0)
        os.wait()


def row(name: str, bits: str, samples: int, minutes: float, more: list[str]) -> tuple[str, float]:
    """One line of the table, and the seconds of the processor that training took."""
    from n6convert import tune

    clock, whole, four = _Clock(), _Timed("quantize"), _Timed("narrowed")
    model, weights, calibration, evaluation, settings = CASES[name]
    budget = {"tune.time_budget": 60 * minutes} if minutes else {"tune.steps": 0}
    with TemporaryDirectory() as folder:
        report = tune(
            model,
            weights=weights,
            calibration={"source": str(calibration), "samples": samples, "held_back": HELD_BACK},
            evaluation=evaluation,
            output=Path(folder) / "out",
            settings=settings | {"quantization.weights": bits} | budget | dict(s.split("=", 1) for s in more),
            progress=clock,
        ).report
    title = name if bits == "int8" else f"{name} {bits}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    eight = whole.seconds - four.seconds
    choosing = f"{four.seconds:.0f} ({four.seconds / eight:.2f}x)" if four.seconds else ""
    taken = f"{time.process_time():6.0f} {clock.seconds:6.0f} {eight:6.0f} {choosing:>14}"
    costs = f"{_layers(report):>8} {report.tuning.steps:6d} {taken} {peak:8.0f}"
    return f"{title:<18} {_scores(report.accuracy)} {_gain(report.tuning)} {_sizes(report)} {costs}", clock.seconds


def peer_row(name: str, bits: str, samples: int, seconds: float, python: str) -> str:
    """The same of NNCF, or why there is none."""
    from n6convert.metrics.base import bootstrap_drop
    from n6convert.tuning.evidence import gain
    from n6convert.tuning.quantization import Evaluator

    title = f"{'  nncf':<18}"
    if bits == "mixed":
        return f"{title} left out: it has one width for all weights"
    method = f"nncf-trained:bits={bits.removeprefix('int')},seconds={seconds:.0f}"
    with TemporaryDirectory() as place:
        folder = Path(place)
        run = prepare(name, samples, folder, held_back=HELD_BACK)
        try:
            costs = measure(method, folder / "float.onnx", folder, samples, python)
        except RuntimeError as error:
            return f"{title} {str(error).strip().splitlines()[-1]}"
        files = [folder / f"{n}.onnx" for n in ("float", "untrained", method)]
        exact, before, after = (judge(run, files[0], file) for file in files)
        evaluator = Evaluator(
            ir.load(files[0]), list(reader(sorted((folder / "held_back").glob("*.npz")))()), held_back=True
        )
        near = [evaluator.fidelity(ir.load(file)) for file in files[1:]]
        nodes = f"{float_nodes(ir.load(files[2]))} float nodes"
    interval, found = bootstrap_drop(exact, after), gain(*near)
    scores = _scored(*(100 * s.value for s in (exact, before, after)), 100 * interval.low, 100 * interval.high)
    gains = _gained(*(n.closeness_db for n in near), "", found.db, found.low, found.high, found.certain)
    alone = costs["cpu"] - costs["train"]
    taken = (
        f"{costs['steps']:6d} {costs['cpu']:6.0f} {costs['train']:6.0f} {alone:6.0f} {'':>14} {costs['rss_mb']:8.0f}"
    )
    return f"{title} {scores} {gains} {nodes:>27} {'':>8} {taken}"


def _scores(accuracy: Any) -> str:
    if accuracy is None:
        return f"{'':>6} {'':>6} {'':>6} {'':>22}"
    before = accuracy.int8 if accuracy.untuned is None else accuracy.untuned
    return _scored(accuracy.float_value, before, accuracy.int8, *accuracy.interval)


def _scored(exact: float, before: float, after: float, low: float, high: float) -> str:
    lost = f"{exact - after:.2f} ({low:+.2f} to {high:+.2f})"
    return f"{exact:6.2f} {before:6.2f} {after:6.2f} {lost:>22}"


def _gain(tuned: Any) -> str:
    exact = tuned.exact_weights.exact_db - tuned.exact_weights.rounded_db
    found = tuned.gain
    near = tuned.before.closeness_db, tuned.after.closeness_db
    return _gained(*near, f"{exact:+.2f}", found.db, found.low, found.high, tuned.kept)


def _gained(before: float, after: float, exact: str, db: float, low: float, high: float, kept: bool) -> str:
    interval = f"{db:+.2f} ({low:+.2f} to {high:+.2f})"
    return f"{f'{before:.2f} > {after:.2f}':>14} {exact:>6} {interval:>22} {'yes' if kept else 'no':>5}"


def _sizes(report: Any) -> str:
    """Flash and predicted time with eight bits, and now."""
    narrow = report.quantization.four_bits
    if narrow is None or not narrow.curve:
        return f"{'':>12} {report.latency.milliseconds:14.2f}"
    first = next(p for p in narrow.curve if p.layers == 0)
    last = next(p for p in narrow.curve if p.layers == len(narrow.layers))
    flash = f"{first.weight_bytes / 1024:.0f} > {last.weight_bytes / 1024:.0f}"
    return f"{flash:>12} {first.milliseconds or 0:6.2f} > {last.milliseconds or 0:5.2f}"


def _layers(report: Any) -> str:
    narrow = report.quantization.four_bits
    return "" if narrow is None or not narrow.curve else f"{len(narrow.layers)} of {narrow.of}"


class _Timed:
    """Seconds of the processor inside one function of the quantizer."""

    def __init__(self, name: str) -> None:
        from n6convert.quantization import quantizer

        self.seconds, self._function = 0.0, getattr(quantizer, name)
        setattr(quantizer, name, self)

    def __call__(self, *given: Any, **more: Any) -> Any:
        before = time.process_time()
        try:
            return self._function(*given, **more)
        finally:
            self.seconds += time.process_time() - before


class _Clock:
    """Seconds of the processor while the stage ``tune`` is at work."""

    def __init__(self) -> None:
        self.seconds, self._before = 0.0, None

    def __call__(self, what: str, done: int, total: Any) -> None:
        now = time.process_time()
        if self._before is not None:
            self.seconds += now - self._before
        self._before = now if what.startswith("tune") else None


if __name__ == "__main__":
    main()
