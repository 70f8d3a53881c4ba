"""Placement against real compiler reports, and how reading and placing scale with the number of nodes.

    python benchmarks/bench_npu_placement.py [--json] [--no-speed]

Reads the local material in N6_NEURALART (default: ../shared/neuralart beside the checkout). Models that a report lacks
are stood in for: r09b and r09c by the sibling file with the same layers (other calibration, other options), r15 and r56
by graphs rebuilt from their layer tables. Nothing is fitted here, but rules were read from these very reports: the
column "own rules" counts the operators for whose rule a report is the only evidence.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nets.qdq import QdqBuilder, attention_encoder
from npu_cases import NEURALART, Reported, reported
from rich.console import Console
from rich.table import Table

from n6convert.npu.evidence import is_thin, reports_of
from n6convert.npu.placement import place, read, report
from n6convert.npu.targets import load_target

EPOCH_LIMIT, OFFLOAD_LIMIT = 0.08, 0.02


@dataclass(frozen=True)
class Row:
    """One report: epochs and operators off the NPU, predicted and true."""

    id: str
    stand_in: bool
    epochs: int
    epochs_true: int | None
    hw: int
    hw_true: int
    named: bool
    """Whether the report names operators; a board's log only counts epochs."""
    extra: dict[str, int]
    missing: dict[str, int]
    own: int
    """Operators that a rule or mechanism decides for which this report is the only evidence."""
    seconds: float

    @property
    def exact(self) -> bool:
        """Software and hybrid operators as printed, to the last one."""
        return not self.extra and not self.missing

    @property
    def epoch_error(self) -> float | None:
        return self.epochs / self.epochs_true - 1 if self.epochs_true else None

    @property
    def offload_error(self) -> float | None:
        """Difference of the offload rates, as a fraction."""
        return self.hw / self.epochs - self.hw_true / self.epochs_true if self.epochs_true else None


def row(case: Reported) -> Row:
    """Predict one report."""
    version = load_target(case.target).version
    model = case.model if isinstance(case.model, Path) else case.model()
    start = time.perf_counter()
    lowered, plan = place(read(model), version, ends=case.ends)
    found = report(plan, version)
    seconds = time.perf_counter() - start
    predicted = Counter({("sw", name): n for name, n in found.sw_ops.items()})
    predicted.update({("hybrid", name): n for name, n in found.hybrid_ops.items()})
    actual, epochs = case.off, case.truth["epochs"]
    wrong = (Counter(), Counter()) if actual is None else (predicted - actual, actual - predicted)
    extra, missing = ({" ".join(key): n for key, n in side.items()} for side in wrong)
    own = case.id.split("_")[0]
    return Row(
        case.id,
        case.stand_in,
        found.epochs.total,
        epochs["total"],
        found.epochs.hw,
        (epochs["hw"] or 0) + (epochs["ec"] or 0),
        actual is not None,
        extra,
        missing,
        sum(is_thin(op.evidence) and reports_of(op.evidence) == (own,) for op in lowered.ops),
        seconds,
    )


def rows() -> list[Row]:
    """All reports."""
    return [row(case) for case in reported()]


def show(found: list[Row], console: Console) -> None:
    table = Table(title="placement against compiler reports (* stand-in model)", title_justify="left")
    for heading in ("report", "epochs", "true", "error", "hw", "true", "offload", "off the NPU", "own rules", "s"):
        table.add_column(heading, justify="left" if heading in ("report", "off the NPU") else "right")
    for r in found:
        wrong = "exact" if r.exact else f"too many {r.extra or '-'}; missing {r.missing or '-'}"
        style = "" if r.exact and abs(r.epoch_error or 0) <= EPOCH_LIMIT else "yellow"
        error = "-" if r.epoch_error is None else f"{r.epoch_error:+.1%}"
        offload = "-" if r.offload_error is None else f"{100 * r.offload_error:+.1f}"
        cells = (str(r.epochs), str(r.epochs_true or "-"), error, str(r.hw), str(r.hw_true or "-"), offload)
        names = wrong if r.named else "no names"
        table.add_row(r.id + "*" * r.stand_in, *cells, names, str(r.own or ""), f"{r.seconds:.2f}", style=style)
    console.print(table)
    summary("operators off the NPU exact", {r.id: r.exact for r in found if r.named}, console)
    epochs = {r.id: abs(r.epoch_error) <= EPOCH_LIMIT for r in found if r.epoch_error is not None}
    summary("epoch totals within 8 %", epochs, console)
    offload = {r.id: abs(r.offload_error) <= OFFLOAD_LIMIT for r in found if r.offload_error is not None and r.named}
    summary("offload within 2 points", offload, console)


def summary(label: str, good: dict[str, bool], console: Console) -> None:
    families: dict[str, bool] = {}
    for name, fine in good.items():
        family = name.split("_")[0].rstrip("abc")
        families[family] = families.get(family, True) and fine
    whole = f"{sum(families.values())}/{len(families)} families of reports"
    console.print(f"{label}: {sum(good.values())}/{len(good)} reports, {whole} without exception")


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
