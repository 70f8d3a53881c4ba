"""A whole conversion with one thread and with more: seconds of the wall and of the processor, and the same files.

    N6_DATA=../shared/data python benchmarks/bench_threads.py [CASE] [--threads 1,2] [--samples 64] [--repeat 1]

The command converts a case of ``bench_accuracy.py`` without the cache, judged on as many labeled samples as calibrate,
in a process of its own. Seconds are those of the fastest run, by stage as the report has them: stages that are made
side by side take theirs at the same time. Seconds of the processor count all processes. "speed" is wall seconds against
the first row. On a busy machine the second core is others' as well: give the benchmark priority, or wait.

The last row is what the machine gives at best: as many conversions with one thread at once as there were threads, which
share nothing; its "speed" is theirs together.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from bench_accuracy import CASES


class Run(NamedTuple):
    """One conversion."""

    wall: float
    processor: float
    stages: dict[str, float]
    sha256: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="?", default="yolov8n-256", help=", ".join(CASES))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    first: Run | None = None
    for threads in map(int, options.threads.split(",")):
        runs = [convert(options.case, threads, options.samples) for _ in range(options.repeat)]
        run = min(runs, key=lambda r: r.wall)
        first = first or run
        if run is first:
            print(
                f"{'threads':>7} {'wall s':>7} {'speed':>6} {'CPU s':>6} {'same':>5} ", *(f"{n:>8}" for n in run.stages)
            )
        same = all(r.sha256 == first.sha256 for r in runs)
        figures = f"{threads:7d} {run.wall:7.2f} {first.wall / run.wall:6.2f} {run.processor:6.2f} {same!s:>5} "
        print(figures, *(f"{seconds:8.2f}" for seconds in run.stages.values()), flush=True)
    assert first is not None
    with ThreadPoolExecutor() as pool:
        start = time.perf_counter()
        list(pool.map(lambda _: convert(options.case, 1, options.samples), range(threads)))
        wall = time.perf_counter() - start
    print(f"{threads:d} x 1 {wall:8.2f} {threads * first.wall / wall:6.2f}")


def convert(case: str, threads: int, samples: int) -> Run:
    """Convert by the command line."""
    model, weights, calibration, evaluation, settings = CASES[case]
    given: dict[str, Any] = {"calibration.source": calibration, "calibration.samples": samples, **settings}
    if evaluation is not None:
        given |= {"evaluation.source": evaluation, "evaluation.samples": samples}
    variables = dict.fromkeys(("N6CONVERT_THREADS", "OMP_NUM_THREADS"), str(threads))
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "n6convert", model, "--weights", str(weights), "-o", f"{folder}/out", "--json"]
        command += ["--quiet", *(word for key, value in given.items() for word in ("--set", f"{key}={value}"))]
        before, start = _processor(), time.perf_counter()
        done = subprocess.run(
            command, env=os.environ | variables | {"N6CONVERT_CACHE": f"{folder}/cache"},
            stdout=subprocess.PIPE, check=True,
        )  # fmt: skip
        wall, processor = time.perf_counter() - start, _processor() - before
        file = next(Path(folder, "out").glob("*_int8.onnx"))
        stages = {stage["name"]: stage["seconds"] for stage in json.loads(done.stdout)["stages"]}
        return Run(wall, processor, stages, hashlib.sha256(file.read_bytes()).hexdigest())


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
