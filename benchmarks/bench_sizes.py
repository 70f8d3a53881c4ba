"""A sweep over sizes of one network: processor seconds beside single conversions, and what sizes have in common.

    N6_DATA=../shared/data python benchmarks/bench_sizes.py [--case yolov8n-256] [--sizes 192,256,320,416]

Sizes differ in every tensor, and with them in ranges, rewrites, placement and answers. What does not follow from the
size is measured part by part, each in a process of its own: what a sweep could save for each size but the first, at
most. The sweep has one process, which starts and imports once; the other parts are done for every size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import bench_accuracy
from bench_accuracy import CASES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", default="yolov8n-256", help="one whose model takes options.imgsz")
    parser.add_argument("--sizes", default="192,256,320,416")
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--part", choices=PARTS, help="measure one part in this process")
    options = parser.parse_args()
    if options.part:
        PARTS[options.part](options.case, options.samples)
        return
    sizes, common = options.sizes.split(","), words(options.case, options.samples)
    single = {size: converted(["convert", *common, "--set", f"options.imgsz={size}"]) for size in sizes}
    for size, seconds in single.items():
        print(f"size {size:>4} alone            {seconds:6.2f} s", flush=True)
    swept = converted(["sweep", *common, "--imgsz", options.sizes, "--workers", "1"])
    print(f"together                   {sum(single.values()):6.2f} s, one sweep {swept:.2f} s", flush=True)
    asked = [sys.executable, __file__, "--case", options.case, "--samples", str(options.samples), "--part"]
    parts = {part: float(subprocess.check_output([*asked, part])) for part in PARTS}
    for part, seconds in parts.items():
        print(f"  {part:<24} {seconds:6.2f} s")
    shared = sum(parts.values())
    print(f"in common                  {shared:6.2f} s, {shared * len(sizes) / swept:.0%} of a size")


def words(case: str, samples: int) -> list[str]:
    """The command line's words of a case, without a size."""
    model, weights, calibration, evaluation, settings = CASES[case]
    given: dict[str, Any] = {"calibration.source": calibration, "calibration.samples": samples}
    given |= {"evaluation.source": evaluation, "evaluation.samples": samples} if evaluation is not None else {}
    given |= {key: value for key, value in settings.items() if key != "options.imgsz"}
    return [model, "--weights", str(weights), *(w for k, v in given.items() for w in ("--set", f"{k}={v}"))]


def converted(arguments: Sequence[str]) -> float:
    """Seconds of the processor that a command takes with one thread and an empty cache."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "n6convert", *arguments, "-o", f"{folder}/out", "--quiet", "--json"]
        variables = {"N6CONVERT_THREADS": "1", "N6CONVERT_CACHE": f"{folder}/cache"}
        before = _processor()
        done = subprocess.run(command, env=os.environ | variables, stdout=subprocess.PIPE, check=True)
        json.loads(done.stdout)
        return _processor() - before


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _print(work: Callable[[], object]) -> None:
    start = time.process_time()
    work()
    print(time.process_time() - start)


def start(case: str, samples: int) -> None:
    """Importing what a conversion needs, beyond an empty process."""
    from n6convert.pipeline.runner import STAGES

    modules = ["n6convert.quantization.quantizer", "n6convert.rewrites.select", *(m for s in STAGES for m in s.modules)]
    _print(lambda: [import_module(name) for name in modules])


def onnxsim(case: str, samples: int) -> None:
    """A process that imports onnxsim."""
    command = [sys.executable, "-c", "import sys; sys.modules.update(torch=None, sympy=None); import onnx, onnxsim"]
    subprocess.run(command, check=True)
    print(_processor())


def images(case: str, samples: int) -> None:
    """Reading calibration and labeled images."""
    from n6convert.registry import load_plugin
    from n6convert.samples import open_samples

    model, _, *sources, _ = CASES[case]
    plugin = load_plugin(model)
    opened = [open_samples(str(s), plugin.sample_kind, plugin.info, limit=samples) for s in sources if s is not None]
    _print(lambda: [sample.sha256 for source in opened for sample in islice(source, samples)])


def weights(case: str, samples: int) -> None:
    """Scales and codes of the exported graph's weights."""
    import onnx_ir as ir

    from n6convert.quantization.grid.from_ranges import make_plan, observed
    from n6convert.quantization.prepare.prepare import prepare

    with TemporaryDirectory() as folder:
        bench_accuracy.prepare(case, 1, Path(folder))
        model = prepare(ir.load(Path(folder, "float.onnx")))
    _print(lambda: make_plan(model.graph, dict.fromkeys(observed(model.graph), (-1.0, 1.0))))


PARTS: dict[str, Callable[[str, int], None]] = {
    "start": start,
    "onnxsim": onnxsim,
    "images": images,
    "weights": weights,
}

if __name__ == "__main__":
    main()
