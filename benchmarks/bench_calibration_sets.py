"""Accuracy and CPU seconds as means over several calibration sets: this code beside another checkout of it.

    N6_DATA=../shared/data python benchmarks/bench_calibration_sets.py [CASE ...] [--before CHECKOUT] [--sets 5]

One calibration set says little about a change of half a point: which images it holds moves the score as much. Here the
cases of ``bench_accuracy.py`` are quantized on disjoint sets of samples, by min-max ranges of onnxruntime, by the
methods asked for, and by the same method of the other checkout; the held-back samples are the same for all. Each result
is judged on the labeled samples that its set does not hold. Printed are the mean drop against float, the standard
error of that mean over the sets, the drops of the sets, and mean CPU seconds; against the other checkout also the mean
difference on the same sets, with its standard error.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import bench_accuracy
import numpy as np
from bench_quantize import measure

_BEFORE = "before"


class Quantizer(NamedTuple):
    """A method of ``quantizers.py``, of this checkout or another."""

    title: str
    method: str
    checkout: Path | None = None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=["tinybert", "mobilenetv2"])
    parser.add_argument("--before", type=Path, help="a checkout whose default recipe is compared")
    parser.add_argument("--methods", default="onnxruntime,ours-fast,ours")
    parser.add_argument("--sets", type=int, default=5)
    parser.add_argument("--samples", type=int, default=64, help="in each set")
    options = parser.parse_args()
    tried = [Quantizer(method, method) for method in options.methods.split(",")]
    if options.before is not None:
        tried.append(Quantizer(_BEFORE, "ours", options.before.resolve()))
    print(f"{'model':<14} {'quantizer':<12} {'drop':>6} {'error':>6} {'CPU s':>6}  drops")
    for name in options.cases:
        if bench_accuracy.CASES[name][1].exists():
            compare(name, tried, options.sets, options.samples)
        else:
            print(f"{name:<14} left out: there is no {bench_accuracy.CASES[name][1]}")


def compare(name: str, tried: Sequence[Quantizer], sets: int, samples: int) -> None:
    """The rows of one model."""
    with TemporaryDirectory() as place:
        pool = Path(place)
        run = bench_accuracy.prepare(name, sets * samples, pool)
        hashes = [s.sha256 for s in run.sampling.samples("calibration")]
        held_back = {s.sha256 for s in run.sampling.samples("held_back")}
        drops: dict[str, list[float]] = {q.title: [] for q in tried}
        seconds: dict[str, list[float]] = {q.title: [] for q in tried}
        for number in range(sets):
            folder = one_set(pool, number, sets)
            seen = {*hashes[number::sets], *held_back}
            floats = bench_accuracy.judge(run, pool / "float.onnx", pool / "float.onnx", seen)
            for quantizer in tried:
                row = measure(quantizer.method, pool / "float.onnx", folder, samples, checkout=quantizer.checkout)
                score = bench_accuracy.judge(run, pool / "float.onnx", folder / f"{quantizer.method}.onnx", seen)
                drops[quantizer.title].append(100 * (floats.value - score.value))
                seconds[quantizer.title].append(row["cpu"])
    show(name, drops, seconds)


def one_set(pool: Path, number: int, sets: int) -> Path:
    """A folder with every so many-th sample of the pool, and the pool's held-back ones."""
    folder = pool / f"set{number}"
    folder.mkdir()
    for file in sorted(pool.glob("*.npz"))[number::sets]:
        shutil.copy(file, folder)
    shutil.copytree(pool / "held_back", folder / "held_back")
    return folder


def show(name: str, drops: Mapping[str, Sequence[float]], seconds: Mapping[str, Sequence[float]]) -> None:
    """Means and what they are uncertain by."""
    for title, found in drops.items():
        each = " ".join(f"{drop:.2f}" for drop in found)
        figures = f"{np.mean(found):6.2f} {error(found):6.2f} {np.mean(seconds[title]):6.1f}"
        print(f"{name:<14} {title:<12} {figures}  {each}", flush=True)
    if _BEFORE in drops and "ours" in drops:
        gaps = np.subtract(drops["ours"], drops[_BEFORE])
        print(f"{name:<14} {'ours - before':<12} {np.mean(gaps):5.2f} {error(gaps):6.2f}")


def error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
