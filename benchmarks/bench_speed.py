"""What a conversion takes beside what others need for less: CPU and wall seconds, peak memory, and their growth.

    N6_DATA=../shared/data python benchmarks/bench_speed.py [CASE ...] [--methods ours,ours-fast,...] [--write]

Every quantizer gets the same float model and the same samples in a process of its own. Figures are ratios to
onnxruntime's min-max run over the same samples, CPU seconds first: a busy machine changes them least. The row
``inference`` runs the float model plainly over the samples; ``conversion`` is the whole conversion as users run it
(export, rewriting, quantization of the rewritten graph, checks, evaluation on as many labeled samples, package) by one
process, with the CPU seconds of its stages behind it. Cases:

    mobilenetv2, movenet, tinybert, ...   the float models of bench_accuracy.py with 64 samples, where N6_DATA has them
    samples                               YOLOv8n 256, seeded, over 16, 64 and 256 samples
    sizes                                 YOLOv8n, seeded, at 192, 320 and 640 with 16 samples
    memory                                YOLOv8n 640, seeded, over 16, 64 and 256 samples

Behind the rows of the last three stands by how much the peak grows from the first to the last.

``benchmarks/speed.json`` holds the ratios of the day they were written (``--write``). A ratio of CPU seconds or memory
beyond ``limit`` times the written one ends the run with exit code 1; the limit is wide, since machines differ.
"""

from __future__ import annotations

import argparse
import compileall
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench_accuracy
import bench_quantize
from bench_quantize import answer, measure

TABLE, CHILD = (Path(__file__).with_name(name) for name in ("speed.json", "conversion.py"))
REFERENCE = "onnxruntime"
OURS = ("ours-fast", "ours", "ours-thorough")
PEERS = ("nncf-fast", "nncf-thorough")
REAL = ("mobilenetv2", "movenet", "tinybert", "efficientvit", "yolov8n-256", "minilm", "mobilevit")
#: plain float inference, and a whole conversion, which only cases of bench_accuracy.py have
INFERENCE, CONVERSION = "inference", "conversion"
#: a written ratio may be exceeded by this factor
LIMIT = 1.6
_COMPARED = ("cpu", "rss_mb")
METHODS = (INFERENCE, *OURS, *PEERS, CONVERSION)
Row = dict[str, float]


def main() -> int:
    """Measure, print, compare with the written table or write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[*REAL, "samples", "sizes", "memory"])
    parser.add_argument("--methods", default="inference,ours-fast,ours,conversion", help=f"of {', '.join(METHODS)}")
    parser.add_argument("--nncf", type=Path, default=Path(".bench/nncf/bin/python"), help="its Python, if any")
    parser.add_argument("--write", action="store_true", help=f"put the ratios into {TABLE.name}")
    options = parser.parse_args()
    methods = options.methods.split(",") + ([*PEERS] if options.nncf.exists() else [])
    compileall.compile_dir(TABLE.parents[1] / "n6convert", quiet=1)  # as an installation is
    found: dict[str, dict[str, Row]] = {}
    print(f"{'case':<24} {'quantizer':<14} {'CPU s':>8} {'times':>6} {'wall s':>8} {'times':>6} {'MB':>6} {'times':>6}")
    for case in options.cases:
        peaks: dict[str, list[float]] = {}
        asked = [m for m in methods if m != CONVERSION or case in bench_accuracy.CASES]
        for name, folder, count in prepared(case):
            ways = {m: partial(run, m, case, folder, count, options.nncf) for m in asked}
            found[name] = rows(name, ways, measure(REFERENCE, folder / "float.onnx", folder, count), peaks)
        print_growth(case, peaks)
    written = json.loads(TABLE.read_text()) if TABLE.exists() else {"limit": LIMIT, "times_onnxruntime": {}}
    if options.write:
        for name, ratios in found.items():
            written["times_onnxruntime"].setdefault(name, {}).update(ratios)
        TABLE.write_text(json.dumps(written, indent=2, sort_keys=True) + "\n")
        return 0
    worse = list(regressions(found, written))
    print("".join(f"worse than written: {line}\n" for line in worse), end="")
    return 1 if worse else 0


def prepared(case: str) -> Iterator[tuple[str, Path, int]]:
    """Folders with ``float.onnx`` and samples: name of the row, folder, samples."""
    if case in ("samples", "memory"):
        size = 256 if case == "samples" else 640
        with TemporaryDirectory() as folder:
            bench_quantize.prepare("yolov8n", "seeded", size, 256, Path(folder))
            yield from ((f"yolov8n-{size} x {count} seeded", Path(folder), count) for count in (16, 64, 256))
    elif case == "sizes":
        for size in (192, 320, 640):
            with TemporaryDirectory() as folder:
                bench_quantize.prepare("yolov8n", "seeded", size, 16, Path(folder))
                yield f"yolov8n-{size} x 16 seeded", Path(folder), 16
    elif not bench_accuracy.CASES[case][1].exists():
        print(f"{case:<24} left out: there is no {bench_accuracy.CASES[case][1]}")
    else:
        with TemporaryDirectory() as folder:
            bench_accuracy.prepare(case, 64, Path(folder))
            yield f"{case} x 64", Path(folder), 64


def run(method: str, case: str, folder: Path, count: int, nncf: Path) -> dict[str, Any]:
    """What a method takes; raises RuntimeError where it fails.

    Args:
        method: of :data:`METHODS`.
        case: of ``bench_accuracy.py``, for whole conversions.
        folder: of the float model and the samples.
        count: of samples.
        nncf: its Python.
    """
    if method == CONVERSION:
        one_thread = dict.fromkeys(("N6CONVERT_THREADS", "OMP_NUM_THREADS"), "1")
        found: dict[str, Any] = answer([sys.executable, str(CHILD), case, str(count)], one_thread)
        return found
    python = (str(nncf),) if method.startswith("nncf") else ()
    return measure(method, folder / "float.onnx", folder, count, *python)


def rows(
    name: str, ways: Mapping[str, Callable[[], dict[str, Any]]], reference: Row, peaks: dict[str, list[float]]
) -> dict[str, Row]:
    """Ratios to the reference by method; each row is printed as soon as it is known, its peak added to the others.

    Args:
        name: of the row.
        ways: runs a method, by name.
        reference: what onnxruntime takes.
        peaks: in MB by method; added to.
    """
    found = {}
    for method, way in {REFERENCE: lambda: reference, **ways}.items():
        try:
            row = way()
        except RuntimeError as error:
            print(f"{name:<24} {method:<14} {str(error).strip().splitlines()[-1]}", flush=True)
            continue
        peaks.setdefault(method, []).append(row["rss_mb"])
        ratio = {key: row[key] / reference[key] for key in reference}
        cells = (f"{row[key]:{width}.{digits}f} {ratio[key]:6.2f}" for key, width, digits in _CELLS)
        stages = (f"  {stage} {seconds:.1f}" for stage, seconds in row.get("stages", {}).items())
        print(f"{name:<24} {method:<14} {' '.join(cells)}{''.join(stages)}", flush=True)
        if method not in (REFERENCE, INFERENCE):
            found[method] = {key: round(ratio[key], 2) for key in _COMPARED}
    return found


def print_growth(case: str, peaks: Mapping[str, Sequence[float]]) -> None:
    """By how much the peak of each quantizer grows from the first to the last row of a case with several rows."""
    for method, found in peaks.items():
        if len(found) > 1:
            grown = 100 * (found[-1] / found[0] - 1)
            print(f"{case:<24} {method:<14} peak {found[0]:.0f} to {found[-1]:.0f} MB: {grown:+.0f} %", flush=True)


_CELLS = (("cpu", 8, 2), ("seconds", 8, 2), ("rss_mb", 6, 0))


def regressions(found: dict[str, dict[str, Row]], written: dict[str, Any]) -> Iterator[str]:
    """Ratios far beyond those in the table, one sentence each."""
    for name, methods in found.items():
        for method, ratios in methods.items():
            before = written["times_onnxruntime"].get(name, {}).get(method, {})
            for key, ratio in ratios.items():
                if key in before and ratio > written["limit"] * before[key]:
                    yield f"{name}, {method}: {ratio} times onnxruntime in {key}, {before[key]} written"


if __name__ == "__main__":
    sys.exit(main())
