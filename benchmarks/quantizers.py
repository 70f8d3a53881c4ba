"""Child process of the benchmarks: quantize one float model with one tool, and say what that took.

    python benchmarks/quantizers.py ours|onnxruntime|nncf FLOAT.onnx SAMPLES_FOLDER OUT.onnx COUNT

Samples are ``.npz`` files with arrays by input name. Prints one JSON line: seconds, cpu seconds, peak RSS in MB.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Feeds = Callable[[], Iterator[dict[str, Any]]]


def ours(model: Path, feeds: Feeds, out: Path, **config: Any) -> None:
    import onnx_ir as ir

    from n6convert.quantization import QuantizationConfig, quantize

    ir.save(quantize(ir.load(model), feeds, QuantizationConfig(**config)).model, out)


def ours_minmax(model: Path, feeds: Feeds, out: Path) -> None:
    """The same work that onnxruntime's min-max run does."""
    ours(model, feeds, out, ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")


def onnxruntime(model: Path, feeds: Feeds, out: Path) -> None:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = feeds()

        def get_next(self) -> dict[str, Any] | None:
            return next(self.left, None)

    quantize_static(
        model,
        out,
        Reader(),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        calibrate_method=CalibrationMethod.MinMax,
        extra_options={"ActivationSymmetric": False, "WeightSymmetric": True},
    )


def nncf(model: Path, feeds: Feeds, out: Path) -> None:
    import nncf as tool
    import onnx

    data = tool.Dataset(list(feeds()))
    found = tool.quantize(onnx.load(model), data, subset_size=10_000, fast_bias_correction=False)
    onnx.save(found, out)


METHODS = {"ours": ours, "ours-minmax": ours_minmax, "onnxruntime": onnxruntime, "nncf": nncf}


def main() -> None:
    method, model, folder, out, count = sys.argv[1:]
    files = sorted(Path(folder).glob("*.npz"))[: int(count)]

    def feeds() -> Iterator[dict[str, Any]]:
        for file in files:
            with np.load(file) as arrays:
                yield dict(arrays)

    start, cpu = time.perf_counter(), time.process_time()
    METHODS[method](Path(model), feeds, Path(out))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    figures = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "rss_mb": peak}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
