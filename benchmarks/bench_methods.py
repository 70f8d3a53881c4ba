"""What each accuracy method brings on networks built to be hard, in dB of SQNR over plain min-max ranges.

    python benchmarks/bench_methods.py [CASE ...] [--small] [--samples 32] [--file NAME=FLOAT.onnx=SAMPLES_FOLDER ...]

The networks have the weight statistics that training leaves behind (``nets/trained_like.py``). Each row is one run of
the quantizer with that method alone on top of min-max ranges, the last one the default recipe. All are judged on
samples that neither calibration nor the quantizer's own judge saw: a method kept by accident shows as a loss. ``input
alone`` rounds the inputs to their best INT8 grids and nothing else: no quantizer comes closer than that.
``--file`` adds a float model of your own with encoded samples (``.npz``, arrays by input name).
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterable, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from nets.signals import SIGNALS
from nets.trained_like import CASES, images

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.grid.affine import Grid
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.ranges.calibrate import calibrate
from n6convert.quantization.ranges.estimators import mse_range
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.comparison import Noise
from n6convert.runtime.session import Session

#: row -> what it switches on
ROWS: dict[str, dict[str, Any]] = {
    "min-max": {},
    "mse ranges": {"ranges": "mse", "unseen_values": True},
    "equalization": {"equalization": True},
    "split products": {"split_products": True},
    "bias correction": {"bias_correction": "sequential"},
    "analytic bias": {"bias_correction": "analytic"},
    "rounding": {"rounding": "second-order"},
}
_DEFAULT = "default recipe"
#: samples of the quantizer's evaluator, and others that stand for all to come: of fewer a single one could decide
_HELD_BACK, _JUDGED = 16, 64
PLAIN = {"ranges": "minmax", **QuantizationConfig.off()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", help=", ".join([*CASES, *SIGNALS]))
    parser.add_argument("--small", action="store_true", help="the instances of the tests")
    parser.add_argument("--samples", type=int, default=32, help="calibration samples")
    parser.add_argument("--file", action="append", default=[])
    parser.add_argument("--rows", nargs="+", choices=[*ROWS, _DEFAULT], default=[*ROWS, _DEFAULT], metavar="ROW")
    options = parser.parse_args()
    print(f"{'case':<18} {'method':<16} {'SQNR dB':>8} {'gain':>7} {'seconds':>8} {'peak MB':>8}")
    for name in options.cases or ([] if options.file else [*CASES, *SIGNALS]):
        compare(name, *built(name, options.small, options.samples), options.samples, options.rows)
    for given in options.file:
        name, model, folder = given.split("=")
        samples: list[Mapping[str, Any]] = [dict(np.load(f)) for f in sorted(Path(folder).glob("*.npz"))]
        compare(name, ir.load(model), samples, options.samples, options.rows)


def built(name: str, small: bool, count: int) -> tuple[ir.Model, list[Mapping[str, Any]]]:
    """A case's float model and samples: ``count`` to calibrate on, some for its evaluator, more for ours."""
    wanted = count + _HELD_BACK + _JUDGED
    if name in SIGNALS:
        make, signals = SIGNALS[name]
        samples = [{"x": x} for x in islice(signals(1), wanted)]
        return rewrite(ir.from_proto(make()), source(samples[:2]), RewriteConfig()).model, samples
    build, size, fewer = CASES[name]
    given = fewer if small else {}
    pictures = images(wanted, given.get("size", size), seed=1)
    return ir.from_proto(build(**given)), [{"image": p} for p in pictures]


def compare(name: str, model: ir.Model, samples: list[Mapping[str, Any]], count: int, rows: list[str]) -> None:
    evaluator = Evaluator(prepare(model), samples[count + _HELD_BACK :])
    base = None
    bound = input_alone(model, samples[:count], samples[count + _HELD_BACK :])
    print(f"{name:<18} {'input alone':<16} {bound:8.2f}", flush=True)
    for row in rows:
        config = QuantizationConfig() if row == _DEFAULT else QuantizationConfig(**{**PLAIN, **ROWS[row]})
        start = time.perf_counter()
        try:
            held_back = source(samples[count : count + _HELD_BACK])
            result = quantize(model, source(samples[:count]), config, held_back=held_back)
        except Exception as error:  # a method may not apply to a model; the row says why
            print(f"{name:<18} {row:<16} {str(error).splitlines()[0]}")
            continue
        score, seconds = evaluator.score(result.model), time.perf_counter() - start
        base = score if base is None else base
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name:<18} {row:<16} {score:8.2f} {score - base:7.2f} {seconds:8.1f} {peak:8.0f}", flush=True)


def input_alone(model: ir.Model, calibration: list[Mapping[str, Any]], judged: list[Mapping[str, Any]]) -> float:
    """Mean SQNR in dB of the float outputs on inputs that are rounded to their best INT8 grids."""
    session, noise = Session(model), {n: Noise() for n in Session(model).outputs}
    found = calibrate(model, source(calibration), session.inputs, histograms=True)
    spans = {n: mse_range(s.histogram, (s.low, s.high)) for n, s in found.items() if s.histogram is not None}
    for sample in judged:
        rounded = {n: Grid.from_range(*spans[n]).round(sample[n]) for n in session.inputs}
        exact, other = session.run({n: sample[n] for n in session.inputs}), session.run(rounded)
        for name, energy in noise.items():
            energy.add(exact[name], other[name])
    return float(np.mean([n.sqnr_db or 80.0 for n in noise.values()]))


def source(samples: Iterable[Mapping[str, Any]]) -> Any:
    kept = list(samples)
    return lambda: iter(kept)


if __name__ == "__main__":
    main()
