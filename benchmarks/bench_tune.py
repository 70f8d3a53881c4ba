"""What training brings on real models: before and after, with the time of the processor and the peak of memory.

    N6_DATA=../shared/data python benchmarks/bench_tune.py [CASE[:BITS] ...] [--samples 200] [--minutes 10]

A case is a model of ``bench_accuracy.py``; ``BITS`` is ``int8`` (default), ``int4`` or ``mixed``. Both INT8 models come
from one run of ``n6convert tune``, so that they differ in their numbers alone, and are judged by the task's own metric
on labeled samples that neither calibration nor training saw. "closeness" is that of the outputs to float on held-back
samples, in dB. Seconds of the processor count all threads of training, not of quantization.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench_accuracy import CASES

DEFAULT = ("tinybert:int4", "movenet:mixed", "efficientvit", "yolov8n-pose", "minilm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(DEFAULT), help=", ".join(CASES))
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=10.0)
    options = parser.parse_args()
    scores = f"{'float':>7} {'before':>7} {'after':>7} {'closeness dB':>16}"
    costs = f"{'steps':>6} {'wall s':>7} {'CPU s':>7} {'peak MB':>8}"
    print(f"{'model':<16} {scores} {costs}")
    for case in options.cases:
        name, _, bits = case.partition(":")
        if not CASES[name][1].exists():
            print(f"{case:<16} left out: there is no {CASES[name][1]}")
            continue
        # a process of its own for each, so that peaks of memory do not mix
        if os.fork() == 0:
            print(row(name, bits or "int8", options.samples, options.minutes), flush=True)
            os._exit(0)
        os.wait()


def row(name: str, bits: str, samples: int, minutes: float) -> str:
    """One line of the table."""
    from n6convert import tune

    clock = _Clock()
    model, weights, calibration, evaluation, settings = CASES[name]
    with TemporaryDirectory() as folder:
        report = tune(
            model,
            weights=weights,
            calibration={"source": str(calibration), "samples": samples},
            evaluation=evaluation,
            output=Path(folder) / "out",
            settings=settings | {"quantization.weights": bits, "tune.time_budget": 60 * minutes},
            progress=clock,
        ).report
    tuned, accuracy = report.tuning, report.accuracy
    closeness = f"{tuned['before']['closeness_db']:.1f} -> {tuned['after']['closeness_db']:.1f}"
    scores = ["", "", ""]
    if accuracy is not None:
        before = accuracy.int8 if accuracy.untuned is None else accuracy.untuned
        scores = [f"{v:.2f}" for v in (accuracy.float_value, before, accuracy.int8)]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    title = name if bits == "int8" else f"{name} {bits}"
    figures = f"{tuned['steps']:6d} {tuned['seconds']:7.0f} {clock.seconds:7.0f} {peak:8.0f}"
    return f"{title:<16} {scores[0]:>7} {scores[1]:>7} {scores[2]:>7} {closeness:>16} {figures}"


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
