"""The Neural-ART predictor against published compiler reports and board times; ``make bench-npu``.

Prints placement, epochs, cycles, memory and milliseconds beside the truth, the residuals, a leave-one-family-out check
and the scaling with the number of nodes. Reads the local material in N6_NEURALART; nothing is fitted here.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from npu_cases import NEURALART, Reported, reported
from npu_measurements import Measured, load, measured_rows
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from n6convert.npu import estimate
from n6convert.npu.costs import Costs, cost
from n6convert.npu.ir import PlacementReport, Schedule
from n6convert.npu.placement import place, read, report
from n6convert.npu.targets import Target, load_target

CONSOLE = Console(width=170)


@dataclass
class Prediction:
    schedule: Schedule
    placement: PlacementReport
    costs: Costs


def predict(model: Any, target: Target, allocate_io: bool = True) -> Prediction:
    lowered, schedule = place(read(model), target.version)
    return Prediction(
        schedule, report(schedule, target.version), cost(lowered, schedule, target, allocate_io=allocate_io)
    )


def ratio(predicted: float, truth: float | None) -> float | None:
    return predicted / truth if truth else None


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value - 1:+.1%}"


# ------------------------------------------------------------------------------------------------- compiler reports


def compare_report(case: Reported) -> dict[str, Any]:
    target = load_target(case.target, pools=case.pools).with_epoch_controller(case.controller)
    model = load(case.model)
    found = predict(model, target, case.allocate_io)
    truth, costs = case.truth, found.costs
    hardware = [epoch for epoch in truth.get("per_epoch", ()) if epoch["kind"] in {"HW", "EC"}]
    epochs = [epoch for epoch in hardware if epoch.get("compute_cycles") is not None]
    aliases = {"resize_integer": "Resize", "dequantizelinear": "DequantizeLinear"}
    names = {aliases.get(name, name): number for name, number in truth["sw_ops"].items()}
    compute = sum(epoch["compute_cycles"] for epoch in epochs)
    external = {name: pool for name, pool in truth["memory"].items() if name == "hyperRAM"}
    return {
        "id": case.id,
        "placement": found.placement.sw_ops == names and found.placement.hybrid_ops == truth["hybrid_ops"],
        "epochs": ratio(found.placement.epochs.total, truth["epochs"]["total"]),
        "convs": _same_cycles(found, epochs),
        "compute": ratio(costs.compute_cycles, compute),
        "max": ratio(costs.max_cycles, truth["totals"].get("max_cycles")),
        "weights": ratio(costs.memory.weights, truth["totals"].get("weights_bytes")),
        "activations": ratio(costs.memory.activations, truth["totals"].get("activations_bytes")),
        "pools": _pools(costs, truth),
        "spill": (costs.memory.external > 0) == bool(external) if truth["memory"] else None,
    }


def _same_cycles(found: Prediction, epochs: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    """Convolution epochs of the truth whose compute cycles the prediction has too, as multisets."""
    truth = Counter(e["compute_cycles"] for e in epochs if e.get("convs"))
    if not truth:
        return None
    kinds = {e.id: [op.kind for op in e.ops] for e in found.schedule.epochs}
    ours = Counter(round(c.compute_cycles) for c in found.costs.epochs if "Conv" in kinds[c.id])
    return sum((truth & ours).values()), sum(truth.values())


def _pools(costs: Costs, truth: dict[str, Any]) -> str:
    """Pools that only one side uses."""
    ours = {pool.name for pool in costs.memory.pools if pool.used}
    theirs = set(truth["memory"])
    if not theirs:
        return "-"
    return " ".join([*(f"+{n}" for n in sorted(ours - theirs)), *(f"-{n}" for n in sorted(theirs - ours))]) or "same"


def show_reports(rows: Sequence[dict[str, Any]]) -> None:
    table = Table(title="compiler reports: predicted / published - 1", title_justify="left")
    for heading in ("report", "SW+hybrid", "epochs", "conv epochs", "compute", "max cycles", "weights", "activations"):
        table.add_column(heading)
    table.add_column("pools")
    table.add_column("spill")
    for row in rows:
        convs = "-" if row["convs"] is None else "{}/{}".format(*row["convs"])
        numbers = [percent(row[key]) for key in ("compute", "max", "weights", "activations")]
        spill = "-" if row["spill"] is None else "right" if row["spill"] else "WRONG"
        table.add_row(
            row["id"],
            "exact" if row["placement"] else "differs",
            percent(row["epochs"]),
            convs,
            *numbers,
            row["pools"],
            spill,
        )
    CONSOLE.print(table)
    exact = sum(row["placement"] for row in rows)
    CONSOLE.print(f"SW and hybrid operators exactly right: {exact}/{len(rows)}")
    hits = [row["convs"] for row in rows if row["convs"]]
    CONSOLE.print(f"convolution epochs with equal compute cycles: {sum(h for h, _ in hits)}/{sum(n for _, n in hits)}")
    limits = {"epochs": 0.08, "compute": 0.03, "max": 0.1, "weights": 0.1, "activations": 0.1}
    for key, limit in limits.items():
        errors = np.array([abs(row[key] - 1) for row in rows if row[key] is not None])
        inside = (errors <= limit).sum()
        CONSOLE.print(f"{key}: median {np.median(errors):.1%}, within {limit:.0%} on {inside}/{len(errors)}")
    spills = [row["spill"] for row in rows if row["spill"] is not None]
    CONSOLE.print(f"spills to external RAM predicted: {sum(spills)}/{len(spills)}\n")


# ------------------------------------------------------------------------------------------------------ board times

PARTS = ("compute", "flash", "memory", "software", "hybrid", "overhead")


@dataclass
class Timed:
    case: Measured
    predicted: float
    parts: NDArray[np.float64]
    activations: float | None
    weights: float | None
    inside: bool

    @property
    def error(self) -> float:
        return self.predicted / self.case.milliseconds - 1


def time_case(case: Measured) -> Timed:
    target = load_target(case.target).with_epoch_controller(case.controller)
    costs = estimate(load(case.source), target).costs
    latency, memory = costs.latency, costs.memory
    return Timed(
        case,
        latency.milliseconds,
        np.array([latency.parts.get(part, 0.0) for part in PARTS]),
        ratio((memory.activations - memory.external) / 1024, case.internal_kib),
        ratio(memory.weights / 1024, case.flash_kib),
        latency.low <= case.milliseconds <= latency.high,
    )


def show_times(rows: Sequence[Timed], skipped: Sequence[str]) -> None:
    table = Table(title="board times (zero points of built networks are synthetic)", title_justify="left")
    for heading in ("network", "target", "measured ms", "predicted ms", "error", *PARTS, "activations", "weights"):
        table.add_column(heading, justify="left" if heading in {"network", "target"} else "right")
    for row in rows:
        parts = [f"{value:.2f}" for value in row.parts]
        table.add_row(
            row.case.name, row.case.target, f"{row.case.milliseconds:.3f}", f"{row.predicted:.3f}", f"{row.error:+.1%}",
            *parts, percent(row.activations), percent(row.weights),
        )  # fmt: skip
    CONSOLE.print(table)
    for title, chosen in _groups(rows).items():
        errors = np.array([abs(row.error) for row in chosen])
        CONSOLE.print(
            f"{title} ({len(errors)}): median error {np.median(errors):.1%}, 90 % quantile "
            f"{np.quantile(errors, 0.9):.1%}, within 25 %: {np.mean(errors <= 0.25):.0%}, "
            f"inside the interval: {np.mean([row.inside for row in chosen]):.0%}"
        )
    for title, key in (("activations", "activations"), ("weights", "weights")):
        errors = np.array([abs(getattr(row, key) - 1) for row in rows if getattr(row, key) is not None])
        CONSOLE.print(
            f"{title} of latency.csv: median {np.median(errors):.1%}, within 10 %: {np.mean(errors <= 0.1):.0%}"
        )
    CONSOLE.print(f"not built, because the architecture or its 4-bit weights are not published: {'; '.join(skipped)}\n")


def _groups(rows: Sequence[Timed]) -> dict[str, list[Timed]]:
    layers = [row for row in rows if row.case.family == "single layers"]
    networks = [row for row in rows if row not in layers]
    own = [row for row in networks if isinstance(row.case.source, Path)]
    return {
        "all": list(rows),
        "networks": networks,
        "networks with their own file": own,
        "networks rebuilt without it": [row for row in networks if row not in own],
        "single layers": layers,
    }


def cross_validate(rows: Sequence[Timed]) -> None:
    """Scale every part by a factor fitted on all other families.

    This tests the size of the constants only: which terms the model has was chosen with every row in view.
    """
    CONSOLE.print(
        "leave one family out: factors on (compute, flash, memory, software, hybrid, overhead) from the others"
    )
    everything: list[float] = []
    for family in dict.fromkeys(row.case.family for row in rows):
        training = [row for row in rows if row.case.family != family]
        factors = _fit(training)
        held = [row for row in rows if row.case.family == family]
        errors = [abs(float(row.parts @ factors) / row.case.milliseconds - 1) for row in held]
        everything += errors
        shown = " ".join(f"{factor:.2f}" for factor in factors)
        CONSOLE.print(
            f"  {family:16s} n={len(held):2d}  [{shown}]  median error of the held-out rows {np.median(errors):.1%}"
        )
    CONSOLE.print(f"  all held-out rows: median {np.median(everything):.1%}, 90 % {np.quantile(everything, 0.9):.1%}\n")


def _fit(rows: Sequence[Timed], pull: float = 0.3) -> NDArray[np.float64]:
    """Least squares on relative errors, every family weighted alike, pulled towards 1."""
    sizes = Counter(row.case.family for row in rows)
    weights = np.array([sizes[row.case.family] ** -0.5 for row in rows])
    matrix = np.array([row.parts / row.case.milliseconds for row in rows]) * weights[:, None]
    system = np.vstack([matrix, pull * np.eye(len(PARTS))])
    goal = np.concatenate([weights, np.full(len(PARTS), pull)])
    return np.asarray(np.linalg.lstsq(system, goal, rcond=None)[0])


# ---------------------------------------------------------------------------------------------------------- scaling


def scaling(sizes: Sequence[int] = (1000, 4000, 16000)) -> None:
    """Seconds of read, place and cost together on long residual chains."""
    from nets.builder import Net

    CONSOLE.print("speed (read, place, cost)")
    for nodes in sizes:
        net = Net("chain", (1, 8, 16, 16))
        x = net.conv(net.x, 16, 3)
        while len(net.nodes) < nodes:
            x = net.add(net.conv(net.conv(x, 16, 3), 16, 1, act=None), x)
        model = net.proto(x)
        best = _seconds(lambda model=model: predict(model, load_target()))
        CONSOLE.print(
            f"  {len(model.graph.node):6d} nodes  {best:6.2f} s  {best / len(model.graph.node) * 1e3:.3f} ms a node"
        )


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--no-scaling", action="store_true")
    options = parser.parse_args()
    if not (NEURALART / "expected").is_dir():
        CONSOLE.print(f"no reference material at {NEURALART}; set N6_NEURALART")
        return 0
    reports = [compare_report(case) for case in reported()]
    show_reports(reports)
    cases, skipped = measured_rows()
    times = [time_case(case) for case in cases]
    show_times(times, skipped)
    cross_validate(times)
    if not options.no_scaling:
        scaling()
    if options.json:
        rows = [{"name": t.case.name, "measured": t.case.milliseconds, "predicted": t.predicted} for t in times]
        Path(options.json).write_text(json.dumps({"reports": reports, "times": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
