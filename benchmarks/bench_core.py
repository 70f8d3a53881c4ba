"""What a user waits for: importing, listing, and a conversion that the cache already knows.

Prints wall times (median of several processes) beside what they may be, and which heavy modules were imported.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from tempfile import TemporaryDirectory

REPEATS = 5
HEAVY = ("torch", "tensorflow", "transformers", "onnxruntime", "onnx")
CONVERT = "from n6convert.cli import run; run(['yolov8n', '--weights', 'seeded', '--imgsz', '256', '--samples', '8'])"
CASES = (
    ("python -c 'import n6convert'", "import n6convert", 0.5),
    ("n6convert models", "from n6convert.cli import run; run(['models'])", 1.0),
    ("n6convert yolov8n, from the cache", CONVERT, 3.0),
)


def main() -> None:
    """Run every case in processes of its own."""
    with TemporaryDirectory() as folder:
        environment = os.environ | {"N6CONVERT_CACHE": folder}
        print("filling the cache ...", file=sys.stderr)
        first = seconds_of(CONVERT, folder, environment)
        print(f"{'':40} {'seconds':>8} {'reach':>6}  heavy modules")
        for name, code, reach in CASES:
            times = [seconds_of(code, folder, environment) for _ in range(REPEATS)]
            loaded = ", ".join(heavy_of(code, folder, environment)) or "none"
            print(f"{name:40} {statistics.median(times):8.2f} {reach:6.1f}  {loaded}")
        print(f"{'n6convert yolov8n, the first time':40} {first:8.2f}")


def seconds_of(code: str, folder: str, environment: dict[str, str]) -> float:
    """Wall time of a Python process."""
    started = time.perf_counter()
    run_python(code, folder, environment)
    return time.perf_counter() - started


def heavy_of(code: str, folder: str, environment: dict[str, str]) -> Sequence[str]:
    """Which of the heavy modules the process imported."""
    probe = f"{code}\nimport sys\nprint(*[m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    return run_python(probe, folder, environment).stderr.split("\n")[-2].split()


def run_python(code: str, folder: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run code quietly in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )


if __name__ == "__main__":
    main()
