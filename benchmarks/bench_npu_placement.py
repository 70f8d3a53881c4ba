"""Placement against real compiler reports, and how reading and placing scale with the number of nodes.

    python benchmarks/bench_npu_placement.py [--json] [--no-speed]

Reads the local material in N6_NEURALART (default: ../shared/neuralart beside the checkout). Models that a report lacks
are stood in for: r09b and r09c by the sibling file with the same layers (other calibration, other options), r15 by the
graph rebuilt from its layer table. Nothing is fitted here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from n6convert.npu.placement import place, read, report
from n6convert.npu.synthetic import QdqBuilder, attention_encoder

NEURALART = Path(os.environ.get("N6_NEURALART", Path(__file__).resolve().parents[2] / "shared" / "neuralart"))
STAND_INS = {
    "r09b_2.1.0": "r09_peleab_history/mobilefacenet__PerChannel_quant.onnx",
    "r09c_2.1.0": "r07_mobilefacenet_int8_qdq/mobilefacenet_int8_faces.onnx",
}
RENAMED = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
EPOCH_LIMIT, OFFLOAD_LIMIT = 0.08, 0.02


@dataclass(frozen=True)
class Row:
    """One report: epochs and operators off the NPU, predicted and true."""

    id: str
    stand_in: bool
    epochs: int
    epochs_true: int
    hw: int
    hw_true: int
    extra: dict[str, int]
    missing: dict[str, int]
    seconds: float

    @property
    def exact(self) -> bool:
        """Software and hybrid operators as printed, to the last one."""
        return not self.extra and not self.missing

    @property
    def epoch_error(self) -> float:
        return self.epochs / self.epochs_true - 1

    @property
    def offload_error(self) -> float:
        """Difference of the offload rates, as a fraction."""
        return self.hw / self.epochs - self.hw_true / self.epochs_true


def cases() -> Iterator[tuple[str, dict[str, Any], Any, bool]]:
    """Name, truth, model and whether the model is a stand-in, for every report that has or can be given a model."""
    for path in sorted((NEURALART / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        name, file = truth["id"], truth["model_file"] or STAND_INS.get(truth["id"])
        if name.startswith("r15"):
            yield name, truth, attention_encoder(6, 30, 128, 4, 1024, 20000), True
        elif file:
            yield name, truth, NEURALART / "reports" / file, truth["model_file"] is None


def row(name: str, truth: dict[str, Any], model: Any, stand_in: bool) -> Row:
    """Predict one report."""
    major, minor, *_ = truth["core_version"].split("-")[0].split(".")
    version = (int(major), int(minor))
    start = time.perf_counter()
    _, plan = place(read(model), version)
    found = report(plan, version)
    seconds = time.perf_counter() - start
    predicted = Counter({("sw", k): n for k, n in found.sw_ops.items()})
    predicted.update({("hybrid", k): n for k, n in found.hybrid_ops.items()})
    actual = Counter({("sw", RENAMED.get(k, k)): n for k, n in truth["sw_ops"].items()})
    actual.update({("hybrid", k): n for k, n in truth["hybrid_ops"].items()})
    epochs = truth["epochs"]
    return Row(
        name,
        stand_in,
        found.epochs.total,
        epochs["total"],
        found.epochs.hw,
        (epochs["hw"] or 0) + (epochs["ec"] or 0),
        {" ".join(key): n for key, n in (predicted - actual).items()},
        {" ".join(key): n for key, n in (actual - predicted).items()},
        seconds,
    )


def rows() -> list[Row]:
    """All reports."""
    return [row(*case) for case in cases()]


def show(found: list[Row], console: Console) -> None:
    table = Table(title="placement against compiler reports (* stand-in model)", title_justify="left")
    for heading in ("report", "epochs", "true", "error", "hw", "true", "offload", "off the NPU", "s"):
        table.add_column(heading, justify="left" if heading in ("report", "off the NPU") else "right")
    for r in found:
        wrong = "exact" if r.exact else f"too many {r.extra or '-'}; missing {r.missing or '-'}"
        style = "" if r.exact and abs(r.epoch_error) <= EPOCH_LIMIT else "yellow"
        cells = (str(r.epochs), str(r.epochs_true), f"{r.epoch_error:+.1%}", str(r.hw), str(r.hw_true))
        offload = f"{100 * r.offload_error:+.1f}"
        table.add_row(r.id + "*" * r.stand_in, *cells, offload, wrong, f"{r.seconds:.2f}", style=style)
    console.print(table)
    for label, good in (
        ("operators off the NPU exact", [r.exact for r in found]),
        ("epoch totals within 8 %", [abs(r.epoch_error) <= EPOCH_LIMIT for r in found]),
        ("offload within 2 points", [abs(r.offload_error) <= OFFLOAD_LIMIT for r in found]),
    ):
        families = {r.id.split("_")[0].rstrip("abc"): True for r in found}
        for r, fine in zip(found, good, strict=True):
            families[r.id.split("_")[0].rstrip("abc")] &= fine
        whole = f"{sum(families.values())}/{len(families)} families of reports"
        console.print(f"{label}: {sum(good)}/{len(good)} reports, {whole} without exception")


def convnet(blocks: int) -> Any:
    """A chain of inverted residual blocks."""
    b = QdqBuilder(f"convnet_{blocks}")
    x = b.conv(b.input(1, 16, 32, 32), 16, 16)
    for _ in range(blocks):
        y = b.op("Relu", b.conv(x, 16, 64), zero=-128)
        y = b.op("Relu", b.conv(y, 64, 64, 3, group=64), zero=-128)
        x = b.op("Add", x, b.conv(y, 64, 16))
    b.output(x)
    return b.model()


def speed(console: Console) -> list[dict[str, float]]:
    """CPU seconds and microseconds per node for 1,000, 4,000 and 16,000 operators."""
    table = Table(title="read + place, after imports", title_justify="left")
    for heading in ("graph", "operators", "CPU s", "us per operator"):
        table.add_column(heading, justify="left" if heading == "graph" else "right")
    found = []
    for size in (1000, 4000, 16000):
        graphs = {"transformer": attention_encoder(size // 65, 32, 64, 4, 128), "cnn": convnet(size // 6)}
        for kind, model in graphs.items():
            start = time.process_time()
            graph = read(model)
            operators = len(graph.nodes)
            place(graph, (4, 0))
            seconds = time.process_time() - start
            found.append({"operators": operators, "seconds": seconds})
            table.add_row(kind, f"{operators:,}", f"{seconds:.2f}", f"{1e6 * seconds / operators:.0f}")
    console.print(table)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    console = Console(width=150, stderr=options.json)
    if not NEURALART.is_dir():
        console.print(f"no reports at {NEURALART}; set N6_NEURALART")
        return 1
    found = rows()
    show(found, console)
    timing = [] if options.no_speed else speed(console)
    if options.json:
        print(json.dumps({"reports": [asdict(r) for r in found], "speed": timing}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
