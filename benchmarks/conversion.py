"""Child process of ``bench_speed.py``: a whole conversion as users run it, stage by stage.

    python benchmarks/conversion.py CASE COUNT

Converts a case of ``bench_accuracy.py`` by one process, with an empty cache, judged on as many labeled samples as
calibrate. Prints one JSON line as ``quantizers.py`` does, with the processor's seconds of each stage under ``stages``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

_START = time.perf_counter()


def main() -> None:
    """Convert, and print what it took since the start."""
    import n6convert

    case, count = sys.argv[1], int(sys.argv[2])
    from bench_accuracy import CASES
    from quantizers import peak_mb

    model, weights, calibration, evaluation, settings = CASES[case]
    given: dict[str, Any] = {"calibration.source": str(calibration), "calibration.samples": count, **settings}
    if evaluation is not None:
        given |= {"evaluation.source": str(evaluation), "evaluation.samples": count}
    stages: dict[str, float] = {}
    with TemporaryDirectory() as folder, _timed(stages):
        os.environ["N6CONVERT_CACHE"] = f"{folder}/cache"
        n6convert.convert(model, weights=weights, settings=given, output=Path(folder, "out"))
    figures = {"seconds": time.perf_counter() - _START, "cpu": _processor(), "rss_mb": peak_mb(), "stages": stages}
    print(json.dumps(figures))


@contextmanager
def _timed(stages: dict[str, float]) -> Iterator[None]:
    """Note what each stage takes."""
    from n6convert.pipeline import runner

    execute = runner.execute

    def timed(stage: Any, run: Any) -> Any:
        before = _processor()
        made = execute(stage, run)
        stages[stage.name] = _processor() - before
        return made

    runner.execute = timed
    try:
        yield
    finally:
        runner.execute = execute


def _processor() -> float:
    """Seconds of this process and of those that it started."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
