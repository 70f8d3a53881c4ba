"""Child process of the benchmarks: quantize one float model with one tool, and say what that took.

    python benchmarks/quantizers.py METHOD FLOAT.onnx SAMPLES_FOLDER OUT.onnx COUNT

METHOD is ``ours``, ``ours-fast``, ``ours-thorough``, ``ours-minmax``, ``ours-int4``, ``ours-mixed`` (with its goal:
``ours-mixed:max_flash=1915000``, ``ours-mixed:max_milliseconds=8.9``), ``onnxruntime``, ``nncf``, ``aimet``,
``aimet-int4``, ``nncf-trained:bits=8,seconds=60`` (see ``peer_training.py``), or a part of the work: ``inference``
(plain float), ``calibrate-minmax``, ``calibrate-all`` (statistics for every range method).

Samples are ``.npz`` files with arrays by input name; those in ``SAMPLES_FOLDER/held_back`` are for judging methods.
Prints one JSON line: seconds, cpu seconds, peak RSS in MB, and what the method adds.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

Feeds = Callable[[], Iterator[dict[str, Any]]]


def ours(model: Path, feeds: Feeds, out: Path, goal: str = "", **config: Any) -> None:
    import_module("n6convert")  # before anything else, as its program does

    import onnx_ir as ir

    from n6convert.npu.targets import DEFAULT_TARGET, load_target
    from n6convert.pipeline.stages.quantize import predictors
    from n6convert.quantization import QuantizationConfig, quantize

    folder = model.parent / "held_back"
    held_back = reader(sorted(folder.glob("*.npz"))) if folder.is_dir() else None
    asked, known = QuantizationConfig(**config), predictors(load_target(DEFAULT_TARGET))
    goals = goals_of(goal) if config.get("weights", "int8") != "int8" else None
    ir.save(quantize(ir.load(model), feeds, asked, held_back=held_back, goals=goals, **known).model, out)


def goals_of(goal: str) -> Any:
    """What four-bit weights must reach, such as ``max_flash=1915000``."""
    from n6convert.npu.layer_times import model_costs
    from n6convert.npu.targets import DEFAULT_TARGET
    from n6convert.quantization.weights.mixed_precision import Goals

    name, _, value = goal.partition("=")
    limit = {"max_milliseconds": "milliseconds", "max_flash": "flash_bytes"}
    asked = {limit[name]: float(value)} if name else {}
    return Goals(predicts=partial(model_costs, target=DEFAULT_TARGET), **asked)


def ours_minmax(model: Path, feeds: Feeds, out: Path) -> None:
    """The same work that onnxruntime's min-max run does."""
    from n6convert.recipe.quantization import QuantizationConfig

    ours(model, feeds, out, ranges="minmax", **QuantizationConfig.off())


def inference(model: Path, feeds: Feeds, out: Path) -> None:
    from n6convert.runtime.session import Session

    session = Session(model)
    for sample in feeds():
        session.run(sample)


def calibration(model: Path, feeds: Feeds, out: Path, histograms: bool = True) -> None:
    import onnx_ir as ir

    from n6convert.quantization.grid.from_ranges import observed
    from n6convert.quantization.ranges.calibrate import calibrate

    graph = ir.load(model)
    calibrate(graph, feeds, observed(graph.graph), histograms=histograms)


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


def nncf(model: Path, feeds: Feeds, out: Path, thorough: bool = False, transformer: bool = False) -> None:
    """NNCF with its quick or its thorough bias correction, or with what it recommends for transformers.

    The thorough one cuts the graph between layers with a bias. Where several roads lead to a layer (the heads of a
    detector) it misses an input of the piece, and onnxruntime refuses the piece: NNCF then has no result this way.
    """
    import nncf as tool
    import onnx

    kind = tool.ModelType.TRANSFORMER if transformer else None
    data = tool.Dataset(list(feeds()))
    found = tool.quantize(
        onnx.load(model), data, subset_size=10_000, fast_bias_correction=not thorough, model_type=kind
    )
    onnx.save(found, out)


def aimet(model: Path, feeds: Feeds, out: Path, bits: str = "int8") -> None:
    """AIMET's simulated quantization as a QDQ file, with activations of eight bits."""
    import aimet_onnx as tool
    import onnx

    kind = getattr(tool, bits)
    sim = tool.QuantizationSimModel(
        onnx.load(model), param_type=kind, activation_type=tool.int8, providers=["CPUExecutionProvider"]
    )
    sim.compute_encodings(list(feeds()))
    onnx.save(sim.to_onnx_qdq(), out)


def nncf_trained(model: Path, feeds: Feeds, out: Path, goal: str) -> dict[str, float]:
    from peer_training import train_with_nncf  # needs torch

    asked = dict(part.split("=") for part in goal.split(","))
    return train_with_nncf(model, list(feeds()), out, int(asked["bits"]), float(asked["seconds"]))


METHODS: dict[str, Callable[..., dict[str, float] | None]] = {
    "aimet": aimet,
    "aimet-int4": partial(aimet, bits="int4"),
    "ours": ours,
    "ours-minmax": ours_minmax,
    "ours-fast": partial(ours, effort="fast"),
    "ours-int4": partial(ours, weights="int4"),
    "ours-mixed": partial(ours, weights="mixed"),
    "ours-thorough": partial(ours, effort="thorough"),
    "onnxruntime": onnxruntime,
    "nncf-fast": nncf,
    "nncf-thorough": partial(nncf, thorough=True),
    "nncf-trained": nncf_trained,
    "nncf-transformer": partial(nncf, transformer=True),
    "inference": inference,
    "calibrate-minmax": partial(calibration, histograms=False),
    "calibrate-all": calibration,
}


def reader(files: Sequence[Path]) -> Feeds:
    def feeds() -> Iterator[dict[str, Any]]:
        for file in files:
            with np.load(file) as arrays:
                yield dict(arrays)

    return feeds


def peak_mb() -> float:
    """Peak RSS of this program alone; ``getrusage`` also counts that of the process it was forked from."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    found = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), None)
    return found or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    method, model, folder, out, count = sys.argv[1:]
    files = sorted(Path(folder).glob("*.npz"))[: int(count)]
    start, cpu = time.perf_counter(), time.process_time()
    name, _, goal = method.partition(":")
    more = METHODS[name](Path(model), reader(files), Path(out), **({"goal": goal} if goal else {}))
    figures = {"seconds": time.perf_counter() - start, "cpu": time.process_time() - cpu, "rss_mb": peak_mb()}
    print(json.dumps(figures | (more or {})))


if __name__ == "__main__":
    main()
