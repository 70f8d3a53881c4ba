"""Do two checkouts of the code make the same results? For changes that must not change any.

``python benchmarks/compare_checkouts.py OTHER_CHECKOUT [MODEL ...]`` converts models with seeded weights by the code
of both, in the same environment and without a cache, and compares what they wrote: INT8 models and other files byte
for byte, ``report.json`` and ``manifest.json`` without times and hashes of code. Exit code 1 when anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
#: one of each family, at sizes that convert quickly
MODELS = {
    "yolov8n": ["--imgsz", "64"],
    "movenet": ["--imgsz", "96"],
    "tinybert": ["--set", "options.sequence=16"],
    "efficientvit": ["--imgsz", "64"],
    "mobilevit": ["--imgsz", "64"],
}
#: what may differ: the code, times, the machine and moments
_VOLATILE = {"code", "created", "date", "environment", "made", "n6convert_code", "seconds", "stages", "times"}
_AS_DATA = {"manifest.json", "report.json"}
_OF_BOTH = {"report.html", "README.md"}  # drawn from the report, with times in them


def main() -> int:
    """Convert with both, print a line for each model, and the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("models", nargs="*", default=list(MODELS))
    chosen = parser.parse_args()
    different = 0
    with tempfile.TemporaryDirectory() as scratch:
        for model in chosen.models:
            folders = [
                converted(checkout, model, Path(scratch) / side / model)
                for side, checkout in (("this", ROOT), ("other", chosen.other.resolve()))
            ]
            found = list(differences(*folders))
            different += bool(found)
            print(f"{model}: {'equal' if not found else 'different'}")
            print("".join(f"  {line}\n" for line in found[:20]), end="")
    return 1 if different else 0


def converted(checkout: Path, model: str, output: Path) -> Path:
    """The output folder of one conversion by the code of one checkout."""
    paths = [checkout, *sorted((checkout / "plugins").iterdir())]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths)), "N6CONVERT_THREADS": "1"}
    options = [*MODELS.get(model, []), "--weights", "seeded", "--no-cache", "--quiet", "--output", output.name]
    output.parent.mkdir(parents=True, exist_ok=True)  # started there: the recipe's `output` is the same for both
    done = subprocess.run(
        [sys.executable, "-m", "n6convert", model, *options], env=environment, cwd=output.parent, check=False
    )
    if done.returncode not in (0, 3):
        sys.exit(f"{model} does not convert with {checkout}: exit code {done.returncode}")
    return output


def differences(ours: Path, other: Path) -> Iterator[str]:
    """What differs between two output folders, one line each."""
    names = sorted({p.name for folder in (ours, other) for p in folder.iterdir()} - _OF_BOTH)
    for name in names:
        a, b = ours / name, other / name
        if not a.exists() or not b.exists():
            yield f"{name}: only in {'this' if a.exists() else 'the other'} checkout's result"
        elif name in _AS_DATA:
            yield from (f"{name}: {line}" for line in unequal(json.loads(a.read_text()), json.loads(b.read_text())))
        elif a.read_bytes() != b.read_bytes():
            yield f"{name}: bytes differ"


def unequal(a: Any, b: Any, place: str = "") -> Iterator[str]:
    """Places where two JSON values differ; volatile keys are left out."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b} - _VOLATILE):
            yield from unequal(a.get(key), b.get(key), f"{place}.{key}" if place else key)
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, pair in enumerate(zip(a, b, strict=True)):
            if not (isinstance(pair[0], dict) and pair[0].get("name") in _OF_BOTH | _AS_DATA):
                yield from unequal(*pair, f"{place}[{number}]")
    elif a != b:
        yield f"{place}: {str(a)[:60]} against {str(b)[:60]}"


if __name__ == "__main__":
    sys.exit(main())
