"""Our quantize stage against onnxruntime's: wall time, CPU time and peak memory, side by side.

    python benchmarks/bench_quantize.py [--model yolov8n] [--imgsz 256] [--counts 16,128] [--calibration]

onnxruntime and ``ours-minmax`` do the same work (min-max ranges, nearest rounding) on the same float model and the same
images, each in a process of its own. The first rows run the float model plainly over the images, and our calibration
alone: for min-max it should cost at most 1.5 times plain inference, for all range methods at once at most 2 times, and
its memory should not grow with the images. ``--calibration`` leaves the other rows out. Images are synthetic; what they
show does not change the time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
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
    parser.add_argument("--counts", default="16,128")
    parser.add_argument("--calibration", action="store_true", help="calibration alone")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        counts = [int(c) for c in options.counts.split(",")]
        model = prepare(options.model, options.weights, options.imgsz, max(counts), Path(folder))
        print(f"{'samples':>8} {'what':<22} {'seconds':>8} {'CPU s':>8} {'peak MB':>8}")
        for count in counts:
            whole = () if options.calibration else ("onnxruntime", "ours-minmax", "ours")
            for method in ("inference", "calibrate-minmax", "calibrate-all", *whole):
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
