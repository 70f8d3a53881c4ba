"""Does a conversion give the same bytes whatever adds up its float sums?

Converts under several settings, each in a process and a cache of its own, and compares the packages file by file, by
their manifests. The arguments are those of n6convert:

    python benchmarks/bench_same_bytes.py yolov8n --weights seeded --imgsz 256

The settings stand for other CPUs: their float kernels differ from each other as they do, in the order of sums.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np


def _dispatched() -> list[str]:
    """Instruction sets that numpy would choose on this machine beyond those it was built for."""
    found = np._core._multiarray_umath
    return [name for name in found.__cpu_dispatch__ if found.__cpu_features__.get(name)]


SETTINGS: dict[str, dict[str, str]] = {
    "one thread": {"N6CONVERT_THREADS": "1"},
    "two threads": {"N6CONVERT_THREADS": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
    "plain kernels": {"N6CONVERT_THREADS": "1", "N6CONVERT_KERNELS": "plain"},
    "BLAS of older CPUs": {"N6CONVERT_THREADS": "1", "OPENBLAS_CORETYPE": "Haswell"},
    "BLAS of oldest CPUs": {"N6CONVERT_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem"},
    "numpy without vectors": {"N6CONVERT_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": " ".join(_dispatched())},
}


def main() -> None:
    """One table: what differs from the first setting."""
    arguments = sys.argv[1:]
    if not arguments:
        raise SystemExit(__doc__)
    with TemporaryDirectory() as folder:
        first: dict[str, str] = {}
        for name, setting in SETTINGS.items():
            started = time.perf_counter()
            found = converted(arguments, setting, Path(folder) / name)
            first = first or found
            other = [path for path in sorted(first | found) if first.get(path) != found.get(path)]
            text = f"other: {', '.join(other)}" if other else f"{len(found)} files, the same"
            print(f"{name:20} {time.perf_counter() - started:6.0f} s  {text}", flush=True)


def converted(arguments: list[str], setting: dict[str, str], folder: Path) -> dict[str, str]:
    """Hashes of a package's files by name."""
    environment = os.environ | setting | {"N6CONVERT_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "n6convert", *arguments, "--output", str(folder / "package")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    manifest = next(folder.glob("package*/manifest.json"), None)
    if manifest is None:
        raise SystemExit(done.stderr)
    return {f["path"]: f["sha256"] for f in json.loads(manifest.read_text())["files"]}


if __name__ == "__main__":
    main()
