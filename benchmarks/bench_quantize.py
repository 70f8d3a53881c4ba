"""Our quantize stage against onnxruntime's: wall time, CPU time and peak memory, side by side.

    python benchmarks/bench_quantize.py [--model yolov8n] [--imgsz 256] [--counts 16,128] [--calibration]

onnxruntime and ``ours-minmax`` do the same work (min-max ranges, nearest rounding) on the same float model and the same
images, each in a process of its own. The first rows run the float model plainly over the images, and our calibration
alone. ``--calibration`` leaves the other rows out. Two summaries follow. Time: what the images beyond the least count
cost, as a multiple of plain inference over them (CPU time, the least of ``--repeat`` runs); calibration should stay
below 1.5 for min-max and below 2 for all range methods at once. Memory: how much the peak grows from the least to the
largest count; it should not by more than 5 %. Images are synthetic; what they show does not change the time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx_ir as ir

CHILD = Path(__file__).with_name("quantizers.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--weights", default="seeded")
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--counts", help="default: 16,128, for calibration alone 16,64,512")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--calibration", action="store_true", help="calibration alone")
    options = parser.parse_args()
    whole = () if options.calibration else ("onnxruntime", "ours-minmax", "ours")
    usual = "16,64,512" if options.calibration else "16,128"
    methods = ("inference", "calibrate-minmax", "calibrate-all", *whole)
    found: dict[tuple[str, int], dict[str, float]] = {}
    with TemporaryDirectory() as folder:
        counts = sorted(int(c) for c in (options.counts or usual).split(","))
        model = prepare(options.model, options.weights, options.imgsz, max(counts), Path(folder))
        print(f"{'samples':>8} {'what':<22} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
        for count in counts:
            for method in methods:
                runs = [measure(method, model, Path(folder), count) for _ in range(options.repeat)]
                row = {key: min(run[key] for run in runs) for key in runs[0]}
                found[method, count] = row
                figures = f"{row['seconds']:8.2f} {row['cpu']:8.2f} {row['rss_mb']:8.0f}"
                print(f"{count:8d} {method:<22} {figures}", flush=True)
    if len(counts) > 1:
        summarize(found, methods, counts[0], counts[-1])


def summarize(
    found: Mapping[tuple[str, int], Mapping[str, float]], methods: Sequence[str], few: int, many: int
) -> None:
    """What further samples cost, against plain inference over them, and what they add to the peak."""
    cost = {m: found[m, many]["cpu"] - found[m, few]["cpu"] for m in methods}
    print(f"\n{many - few} further samples    times inference    peak grows")
    for method in methods:
        growth = 100 * (found[method, many]["rss_mb"] / found[method, few]["rss_mb"] - 1)
        print(f"{method:<22} {cost[method] / cost['inference']:16.2f} {growth:11.1f} %")


def prepare(name: str, weights: str, imgsz: int, count: int, folder: Path) -> Path:
    """Write the float model and the encoded samples into a folder."""
    from n6convert.api import make_draft
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import STAGES, run_stages
    from n6convert.recipe.checking import finish
    from n6convert.samples import synthetic_samples
    from n6convert.store.cache import Cache

    draft = make_draft(name)
    draft.set(("weights",), weights, "benchmark")
    draft.set(("options", "imgsz"), imgsz, "benchmark")
    run = Run(finish(draft), draft, Cache(), lambda what, done, total: None)
    run_stages(run, [s for s in STAGES if s.name in ("export", "simplify")])
    path = folder / "float.onnx"
    ir.save(run.artifacts["simplify"].load(), path)
    plugin = run.ready_plugin
    for i, sample in enumerate(synthetic_samples("image", plugin.info, count=count)):
        np.savez(folder / f"{i:05d}.npz", **run.encode(sample))
    return path


def measure(
    method: str, model: Path, folder: Path, count: int, python: str = sys.executable, checkout: Path | None = None
) -> dict[str, float]:
    """Run one quantizer in a process of its own.

    Args:
        method: of ``quantizers.py``.
        model: float.
        folder: of the samples, and of the result.
        count: of samples.
        python: that runs it.
        checkout: another one of this code, whose quantizer runs.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    out = folder / f"{method}.onnx"
    child = CHILD if checkout is None else checkout / "benchmarks" / CHILD.name
    command = [python, str(child), method, str(model), str(folder), str(out), str(count)]
    figures: dict[str, float] = answer(command, {} if checkout is None else {"PYTHONPATH": str(checkout)})
    return figures


def answer(command: Sequence[str], variables: Mapping[str, str]) -> Any:
    """The JSON line that a command prints last. Raises RuntimeError where it fails, with the end of its output.

    Args:
        command: its words.
        variables: of its environment, beside those of this process.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command[1:3])} failed: {done.stderr.strip()[-500:]}")
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]  # NNCF draws its progress around them
    return json.loads(lines[-1])


if __name__ == "__main__":
    main()
