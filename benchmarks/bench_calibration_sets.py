"""Accuracy and CPU seconds as means over several calibration sets: this code beside another checkout of it.

    N6_DATA=../shared/data python benchmarks/bench_calibration_sets.py [CASE ...] [--before CHECKOUT] [--sets 5]

One calibration set says little about a change of half a point: which images it holds moves the score as much. Here the
cases of ``bench_accuracy.py`` are quantized on disjoint sets of samples, by the methods of ``quantizers.py`` asked for,
and by the default one of the other checkout; the held-back samples are the same for all. Methods of four bits
(``--methods ours-mixed:max_flash=1915000``) get the graph after rewrites, whose time is predicted; with ``--rewritten``
all do, as in conversions. Each result is judged on the labeled samples that its set does not hold. Printed are the mean
drop against float, the standard error of that mean over the sets, the mean SQNR of all outputs on those samples, which
is more precise than labels are, mean CPU seconds, and the drops of the sets; against the other checkout also the mean
difference on the same sets, with its standard error.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import bench_accuracy
import numpy as np
from bench_quantize import measure

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

_BEFORE = "before"
_FOUR_BITS = ("ours-int4", "ours-mixed")


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
    parser.add_argument("--rewritten", action="store_true", help="quantize the graph after rewrites")
    options = parser.parse_args()
    tried = [Quantizer(method, method) for method in options.methods.split(",")]
    if options.before is not None:
        tried.append(Quantizer(_BEFORE, "ours", options.before.resolve()))
    print(f"{'model':<14} {'quantizer':<12} {'drop':>6} {'error':>6} {'dB':>6} {'CPU s':>6}  drops")
    for name in options.cases:
        if bench_accuracy.CASES[name][1].exists():
            compare(name, tried, options.sets, options.samples, options.rewritten)
        else:
            print(f"{name:<14} left out: there is no {bench_accuracy.CASES[name][1]}")


def compare(name: str, tried: Sequence[Quantizer], sets: int, samples: int, rewritten: bool) -> None:
    """The rows of one model."""
    with TemporaryDirectory() as place:
        pool = Path(place)
        run = bench_accuracy.prepare(name, sets * samples, pool)
        hashes = [s.sha256 for s in run.sampling.samples("calibration")]
        held_back = {s.sha256 for s in run.sampling.samples("held_back")}
        drops: dict[str, list[float]] = {q.title: [] for q in tried}
        seconds: dict[str, list[float]] = {q.title: [] for q in tried}
        decibels: dict[str, list[float]] = {q.title: [] for q in tried}
        for number in range(sets):
            folder = one_set(pool, number, sets)
            seen = {*hashes[number::sets], *held_back}
            floats = bench_accuracy.judge(run, pool / "float.onnx", pool / "float.onnx", seen)
            for quantizer in tried:
                graph = pool / (
                    "rewritten.onnx" if rewritten or quantizer.method.startswith(_FOUR_BITS) else "float.onnx"
                )
                row = measure(quantizer.method, graph, folder, samples, checkout=quantizer.checkout)
                made = folder / f"{quantizer.method}.onnx"
                score = bench_accuracy.judge(run, pool / "float.onnx", made, seen)
                drops[quantizer.title].append(100 * (floats.value - score.value))
                seconds[quantizer.title].append(row["cpu"])
                decibels[quantizer.title].append(sqnr_db(run, pool / "float.onnx", made, seen))
    show(name, drops, seconds, decibels)


def sqnr_db(run: Run, reference: Path, model: Path, seen: Collection[str]) -> float:
    """Of all outputs together without padding, on the labeled samples that calibration did not see."""
    import onnx_ir as ir

    from n6convert.pipeline.sampling import open_source
    from n6convert.quantization.padding import tokens_of, without_padding
    from n6convert.runtime.comparison import Noise, decibel
    from n6convert.runtime.session import Session

    source, a, b = run.recipe.evaluation.source, Session(reference), Session(model)
    if source is None:
        return float("nan")
    graph, total = ir.load(reference).graph, Noise()
    for sample in open_source(run, source, None):
        if sample.sha256 not in seen:
            feeds = run.encode(sample)
            tokens = tokens_of(graph, feeds)
            for pair in zip(a.run(feeds).values(), b.run(feeds).values(), strict=True):
                total.add(*(without_padding(values, tokens) for values in pair))
    return decibel(total.signal, total.noise)


def one_set(pool: Path, number: int, sets: int) -> Path:
    """A folder with every so many-th sample of the pool, and the pool's held-back ones."""
    folder = pool / f"set{number}"
    folder.mkdir()
    for file in sorted(pool.glob("*.npz"))[number::sets]:
        shutil.copy(file, folder)
    shutil.copytree(pool / "held_back", folder / "held_back")
    return folder


def show(
    name: str,
    drops: Mapping[str, Sequence[float]],
    seconds: Mapping[str, Sequence[float]],
    decibels: Mapping[str, Sequence[float]],
) -> None:
    """Means and what they are uncertain by."""
    for title, found in drops.items():
        each = " ".join(f"{drop:.2f}" for drop in found)
        figures = (
            f"{np.mean(found):6.2f} {error(found):6.2f} {np.mean(decibels[title]):6.2f} {np.mean(seconds[title]):6.1f}"
        )
        print(f"{name:<14} {title:<12} {figures}  {each}", flush=True)
    if _BEFORE in drops and "ours" in drops:
        gaps = np.subtract(drops["ours"], drops[_BEFORE])
        print(f"{name:<14} {'ours - before':<12} {np.mean(gaps):5.2f} {error(gaps):6.2f}")


def error(values: Sequence[float]) -> float:
    """Standard error of the mean."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


if __name__ == "__main__":
    main()
