"""What the user takes away: a sweep with one process beside one with two, and how long package and report take.

Both sweeps run the same twelve points, each with a cache of its own, in one go; the ratio is what counts. One process
uses every core inside operators, as conversions one after another do; two processes have half of them each. On a
machine that is busy with other work the ratio says little, so the load is printed.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from n6convert.runtime.threads import available_cores

AXES = {"options.imgsz": [64, 96, 128], "calibration.samples": [4, 8], "quantization.ranges": ["minmax", "percentile"]}
REACH_RATIO, REACH_SECONDS, REACH_BYTES = 1.6, 5.0, 6 << 20


def main() -> None:
    """Print the sweep's ratio and the times and size of one package."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=available_cores())
    workers = parser.parse_args().workers
    print(f"{available_cores()} cores, load {os.getloadavg()[0]:.1f} before the start")
    with TemporaryDirectory() as folder:
        times = {count: sweep_seconds(Path(folder) / f"sweep{count}", count) for count in (1, workers)}
        for count, seconds in times.items():
            print(f"12-point sweep of yolov8n, {count} process{'es' * (count > 1)}: {seconds:.1f} s")
        print(f"ratio {times[1] / times[workers]:.2f} (reach {REACH_RATIO})")
        report_times(Path(folder))


def sweep_seconds(folder: Path, workers: int) -> float:
    """Wall time of the sweep from an empty cache."""
    from n6convert.sweeps import sweep

    os.environ["N6CONVERT_CACHE"] = str(folder / "cache")
    started = time.perf_counter()
    results = sweep("yolov8n", AXES, folder / "out", common={"weights": "seeded"}, workers=workers)
    failed = [r.error for r in results if r.error]
    if failed:
        raise SystemExit(f"{len(failed)} points failed: {failed[0]}")
    return time.perf_counter() - started


def report_times(folder: Path) -> None:
    """Package stage and report page of yolov8n at its default size."""
    from n6convert import convert
    from n6convert.report.html import read_report, write_report

    os.environ["N6CONVERT_CACHE"] = str(folder / "cache")
    result = convert("yolov8n", weights="seeded", output=folder / "out", calibration={"samples": 4})
    package = next(stage.seconds for stage in result.report.stages if stage.name == "package")
    started = time.perf_counter()
    page = write_report(read_report(folder / "out"), folder / "out")
    drawn = time.perf_counter() - started
    print(f"package {package:.1f} s + report {drawn:.1f} s (reach {REACH_SECONDS} s together)")
    print(f"report.html {page.stat().st_size / 1e6:.2f} MB (reach {REACH_BYTES / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
