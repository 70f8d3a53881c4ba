"""Our quantize stage against onnxruntime's: wall time, CPU time and peak memory, side by side.

    python benchmarks/bench_quantize.py [--model yolov8n] [--weights FILE] [--imgsz 256] [--counts 8,32,128]

Both do the same work (min-max ranges, nearest rounding) on the same float model and the same images, each in a process
of its own. The first row runs the float model plainly over the images: calibration should cost at most 1.5 times that.
Images are synthetic; what they show does not change the time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

CHILD = Path(__file__).with_name("quantizers.py")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="yolov8n")
    parser.add_argument("--weights", default="seeded")
    parser.add_argument("--imgsz", type=int, default=256)
    parser.add_argument("--counts", default="8,32,128")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        counts = [int(c) for c in options.counts.split(",")]
        model = prepare(options.model, options.weights, options.imgsz, max(counts), Path(folder))
        print(f"{'samples':>8} {'what':<22} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
        for count in counts:
            print(f"{count:8d} {'float inference':<22} {'':>8} {plain(model, Path(folder), count):8.2f}")
            for method in ("onnxruntime", "ours-minmax", "ours"):
                row = measure(method, model, Path(folder), count)
                print(f"{count:8d} {method:<22} {row['seconds']:8.2f} {row['cpu']:8.2f} {row['rss_mb']:8.0f}")


def prepare(name: str, weights: str, imgsz: int, count: int, folder: Path) -> Path:
    """Write the float model and the encoded samples into a folder."""
    from n6convert.api import make_draft
    from n6convert.cache import Cache
    from n6convert.pipeline import STAGES, run_stages
    from n6convert.recipes_io import finish
    from n6convert.run import Run
    from n6convert.samples import synthetic_samples

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


def plain(model: Path, folder: Path, count: int) -> float:
    """CPU seconds of running the float model over the samples."""
    from n6convert.numerics import Session

    session = Session(model)
    start = time.process_time()
    for sample in loaded(folder, count):
        session.run(sample)
    return time.process_time() - start


def loaded(folder: Path, count: int) -> Iterator[dict[str, np.ndarray]]:
    for file in sorted(folder.glob("*.npz"))[:count]:
        with np.load(file) as arrays:
            yield dict(arrays)


def measure(method: str, model: Path, folder: Path, count: int, python: str = sys.executable) -> dict[str, float]:
    """Run one quantizer in a process of its own.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    out = folder / f"{method}.onnx"
    command = [python, str(CHILD), method, str(model), str(folder), str(out), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{method} failed: {done.stderr.strip()[-500:]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


if __name__ == "__main__":
    main()
