"""The Neural-ART predictor against published compiler reports and board times; ``make bench-npu``.

Prints placement, epochs, cycles, memory and milliseconds beside the truth, first of families that were held out, then
of today's fit, what rests on thin evidence, and the scaling with the number of nodes. Reads the local material in
N6_NEURALART; networks come from their files, from ``nets`` or, once, from published definitions (``nets.originals``).
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from npu_cases import NEURALART, Reported, reported
from npu_holdouts import (
    PARTS,
    Forecast,
    Held,
    forecast,
    groups,
    held_out,
    lean_constants,
    newer_from_older,
)
from npu_measurements import load, measured_rows
from rich.console import Console
from rich.table import Table

import n6convert.npu
from n6convert.npu.costs import Costs, cost
from n6convert.npu.doubts import DOUBTS
from n6convert.npu.ends import AS_MODELED, Ends
from n6convert.npu.evidence import is_thin, reports_of, thin_words
from n6convert.npu.ir import PlacementReport, Schedule
from n6convert.npu.placement import place, read, report
from n6convert.npu.rules import known_operators, rules_for
from n6convert.npu.targets import Target, load_target

CONSOLE = Console(width=170)


@dataclass
class Prediction:
    schedule: Schedule
    placement: PlacementReport
    costs: Costs


def predict(model: Any, target: Target, allocate_io: bool = True, ends: Ends = AS_MODELED) -> Prediction:
    lowered, schedule = place(read(model), target.version, frozenset(target.switches), ends)
    costs = cost(lowered, schedule, target, allocate=(allocate_io, allocate_io))
    return Prediction(schedule, report(schedule, target.version), costs)


def ratio(predicted: float, truth: float | None) -> float | None:
    return predicted / truth if truth else None


def off_the_npu(found: PlacementReport) -> Counter[tuple[str, str]]:
    places = {"sw": found.sw_ops, "hybrid": found.hybrid_ops}
    return Counter({(place, name): number for place, names in places.items() for name, number in names.items()})


def percent(value: float | None) -> str:
    return "-" if value is None else f"{value - 1:+.1%}"


# ------------------------------------------------------------------------------------------------- compiler reports


def compare_report(case: Reported) -> dict[str, Any]:
    target = load_target(case.target, pools=case.pools).with_epoch_controller(case.controller)
    model = load(case.model)
    found = predict(model, target, case.allocate_io, case.ends)
    truth, costs = case.truth, found.costs
    hardware = [epoch for epoch in truth.get("per_epoch", ()) if epoch["kind"] in {"HW", "EC"}]
    epochs = [epoch for epoch in hardware if epoch.get("compute_cycles") is not None]
    compute = sum(epoch["compute_cycles"] for epoch in epochs)
    external = {name: pool for name, pool in truth["memory"].items() if name == "hyperRAM"}
    return {
        "id": case.id,
        "placement": None if case.off is None else off_the_npu(found.placement) == case.off,
        "epochs": ratio(found.placement.epochs.total, truth["epochs"]["total"]),
        "convs": _same_cycles(found, epochs),
        "compute": ratio(costs.compute_cycles, compute),
        "max": ratio(costs.max_cycles, truth["totals"].get("max_cycles") if _whole(truth) else None),
        "weights": ratio(costs.memory.weights, truth["totals"].get("weights_bytes")),
        "activations": ratio(costs.memory.activations, truth["totals"].get("activations_bytes")),
        "pools": _pools(costs, truth),
        "spill": (costs.memory.external > 0) == bool(external) if truth["memory"] else None,
    }


def _whole(truth: dict[str, Any]) -> bool:
    """Whether cycles of all epochs are published: 3.0 hides those inside the controller's blobs."""
    published = truth.get("c_info_epochs")
    return not published or published["total"] >= 0.9 * truth["epochs"]["total"]


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
            {True: "exact", False: "differs", None: "no names"}[row["placement"]],
            percent(row["epochs"]),
            convs,
            *numbers,
            row["pools"],
            spill,
        )
    CONSOLE.print(table)
    exact = [row["placement"] for row in rows if row["placement"] is not None]
    CONSOLE.print(f"SW and hybrid operators exactly right: {sum(exact)}/{len(exact)}")
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


def show_times(rows: Sequence[Forecast], skipped: Sequence[str]) -> None:
    """Every measured row with today's constants: figures of fit, for those who made the constants saw the rows."""
    table = Table(title="board times, constants of today (fit, not a test)", title_justify="left")
    for heading in ("network", "target", "measured ms", "predicted ms", "error", "inside", *PARTS, "RAM", "flash"):
        table.add_column(heading, justify="left" if heading in {"network", "target"} else "right")
    for row in rows:
        latency, memory = row.found.costs.latency, row.found.costs.memory
        inside = latency.low <= row.case.milliseconds <= latency.high
        numbers = [f"{row.case.milliseconds:.3f}", f"{row.predicted:.3f}", f"{row.error:+.1%}"]
        numbers.append("yes" if inside else "NO")
        internal = ratio(_onchip(row), row.case.internal_kib)
        flash = ratio(memory.weights / 1024, row.case.flash_kib)
        parts = [f"{value:.2f}" for value in row.parts]
        table.add_row(row.case.name, row.case.target, *numbers, *parts, percent(internal), percent(flash))
    CONSOLE.print(table)
    networks = [row for row in rows if row.case.family != "single layers"]
    for title, chosen in (("all", rows), ("networks", networks)):
        errors = np.array([abs(row.error) for row in chosen])
        CONSOLE.print(f"{title} ({len(errors)}): median {np.median(errors):.1%}, 90 % {np.quantile(errors, 0.9):.1%}")
    known = [row for row in rows if row.case.internal_kib]
    exact = [row for row in known if abs((ratio(_onchip(row), row.case.internal_kib) or 0) - 1) < 0.001]
    CONSOLE.print(f"memory on the chip as published: {len(exact)}/{len(known)}")
    flash = np.array([abs(row.found.costs.memory.weights / 1024 / row.case.flash_kib - 1) for row in known])
    CONSOLE.print(
        f"flash (rows of four bits are cut to the published size): median {np.median(flash):.1%}, "
        f"worst {flash.max():.1%}, within 1% on {(flash <= 0.01).sum()}/{len(flash)}"
    )
    CONSOLE.print(f"no network: the definition is not published or its package not installed: {'; '.join(skipped)}\n")


def _onchip(row: Forecast) -> float:
    """KiB of activations on the chip."""
    memory = row.found.costs.memory
    return (memory.activations - memory.external) / 1024


def show_held_out(title: str, held: Sequence[Held]) -> None:
    """One line a family, then the groups."""
    table = Table(title=title, title_justify="left")
    for heading in ("family", "rows", "fit", "held out: median", "worst", "inside", "width", "constants it lost"):
        table.add_column(heading, justify="left" if heading in {"family", "constants it lost"} else "right")
    for family in dict.fromkeys(one.row.case.family for one in held):
        own = [one for one in held if one.row.case.family == family]
        errors, fit = [abs(one.error) for one in own], [abs(one.row.error) for one in own]
        lost = [name for name, (owners, _) in lean_constants().items() if owners == {family}]
        table.add_row(
            family, str(len(own)), f"{np.median(fit):.1%}", f"{np.median(errors):.1%}", f"{max(errors):.1%}",
            f"{np.mean([one.inside for one in own]):.0%}", f"x {math.exp(np.median([one.width for one in own])):.2f}",
            ", ".join(lost),
        )  # fmt: skip
    CONSOLE.print(table)
    for name, chosen in groups(held).items():
        if chosen:
            errors = np.array([abs(one.error) for one in chosen])
            CONSOLE.print(
                f"{name} ({len(errors)}): median {np.median(errors):.1%}, 90 % {np.quantile(errors, 0.9):.1%}, inside "
                f"the interval {np.mean([one.inside for one in chosen]):.0%}, by family {_by_family(chosen):.0%}"
            )
    CONSOLE.print()


def _by_family(held: Sequence[Held]) -> float:
    """Share inside the interval, every family weighing alike."""
    families = {one.row.case.family for one in held}
    return float(np.mean([np.mean([o.inside for o in held if o.row.case.family == name]) for name in families]))


def show_evidence() -> None:
    """What everything rests on: thin constants with their families, every rule with its reports, thin ones marked."""
    table = Table(title="constants that rest on one or two families", title_justify="left")
    for heading in ("constant", "taken from"):
        table.add_column(heading)
    for name, (families, _) in lean_constants().items():
        table.add_row(name, ", ".join(sorted(families)))
    CONSOLE.print(table)
    table = Table(title="rules of placement and what they rest on", title_justify="left")
    for heading in ("rule", "reports", "", "evidence"):
        table.add_column(heading)
    rules = {(rule.name, rule.evidence) for op in known_operators() for rule in rules_for(op)}
    rules |= {("(mechanism)", doubt.evidence) for doubt in DOUBTS}
    for name, evidence in sorted(rules, key=lambda pair: (not is_thin(pair[1]), pair)):
        table.add_row(name, " ".join(reports_of(evidence)) or "-", thin_words(evidence) or "", evidence)
    CONSOLE.print(table)


def write_interval(rows: Sequence[Forecast], table: Mapping[str, Any]) -> None:
    """The calibrated widths, with where they come from, into the product's data."""
    kinds = sorted(frozenset().union(*(row.kinds for row in rows)))
    families = list(dict.fromkeys(row.case.family for row in rows))
    slopes = {name: round(value, 3) for name, value in table["slopes"].items()}
    lines = [
        "# Widths of the interval of a predicted time (n6convert.npu.interval).",
        "# Written by make bench-npu-interval from measured networks: do not edit.",
        "source: >-",
        f"  errors of {len(rows)} measured rows of {len(families)} families, each predicted without its family",
        f"  ({', '.join(families)})",
        f"base: {table['base']:g}",
        f"slopes: {{{', '.join(f'{name}: {value:g}' for name, value in slopes.items())}}}",
        f"quantile: {table['quantile']:.3f}",
        "kinds:",
        *(f"  - {kind}" for kind in kinds),
    ]
    path = Path(n6convert.npu.__file__).parent / "targets" / "interval.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    CONSOLE.print(f"written: {path}")


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


# ------------------------------------------------------------------------------------------------------- the page


_NUMBER = re.compile(r"\d+\.?\d*")
_POINT = 1.0


def documented(reports: Sequence[dict[str, Any]], held: Sequence[Held], newer: Sequence[Held]) -> Iterator[str]:
    """What docs/predictor.md has to say, to the letter, in the order of the page."""
    exact = [row["placement"] for row in reports if row["placement"] is not None]
    yield f"| exact on {sum(exact)} of {len(exact)};"
    yield f"| {_within(reports, 'epochs', 0.08)},"
    hits = [row["convs"] for row in reports if row["convs"]]
    yield f"| {sum(h for h, _ in hits)} of {sum(n for _, n in hits)} |"
    for key, limit in {"compute": 0.03, "max": 0.1, "weights": 0.05, "activations": 0.1}.items():
        yield f"| {_within(reports, key, limit)},"
    spills = [row["spill"] for row in reports if row["spill"] is not None]
    yield f"| right on {sum(spills)} of {len(spills)} |"
    networks = groups(held)["networks"] if held else []
    for name, chosen in (*groups(held).items(), *groups(newer).items()) if held else ():
        errors = [abs(one.error) for one in chosen]
        if errors and name != "single layers":
            spread = f"{np.median(errors):.1%} | {np.quantile(errors, 0.9):.1%}".replace("%", " %")
            inside = f"{np.mean([one.inside for one in chosen]):.0%}".removesuffix("%")
            yield f"| {len(errors)} | {spread} | {inside} / {100 * _by_family(chosen):.0f} % |"
    if not networks:
        return
    fit = [abs(one.row.error) for one in networks]
    spread = f"median {np.median(fit):.1%}, nine in ten within {np.quantile(fit, 0.9):.1%}".replace("%", " %")
    yield f"{len(fit)} networks, {spread}."
    predicted = [(one.row.found.costs.latency, one.row.case.milliseconds) for one in networks]
    inside = sum(latency.low <= measured <= latency.high for latency, measured in predicted)
    yield f"{inside} of {len(predicted)} networks lie inside"


def _within(reports: Sequence[dict[str, Any]], key: str, limit: float) -> str:
    errors = [abs(row[key] - 1) for row in reports if row[key] is not None]
    return f"within {limit:.0%} on {sum(e <= limit for e in errors)} of {len(errors)}".replace("%", " %")


def check(reports: Sequence[dict[str, Any]]) -> int:
    """1 where the page says something else; without the networks' definitions only reports are compared."""
    complete = find_spec("pytorchcv") is not None
    times = [forecast(case) for case in measured_rows()[0]] if complete else []
    page = (Path(__file__).parents[1] / "docs" / "predictor.md").read_text(encoding="utf-8")
    wanted = list(documented(reports, held_out(times)[0] if times else (), newer_from_older(times) if times else ()))
    missing = [text for text in wanted if not _says(page, text)]
    found = f"docs/predictor.md: {len(wanted)} figures hold{'' if complete else '; board times were not compared'}"
    CONSOLE.print("\n".join(missing) or found, markup=False)
    return int(bool(missing))


def _says(page: str, text: str) -> bool:
    """Whether the page has the text with these numbers; another machine's seeded networks may move them by a point."""
    pattern = r"(\d+\.?\d*)".join(re.escape(part) for part in _NUMBER.split(text))
    numbers = [float(n) for n in _NUMBER.findall(text)]
    places = re.finditer(pattern, page)
    return any(all(abs(float(n) - m) <= _POINT for n, m in zip(p.groups(), numbers, strict=True)) for p in places)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures as JSON, too")
    parser.add_argument("--no-scaling", action="store_true")
    parser.add_argument("--check", action="store_true", help="only compare docs/predictor.md with what is found")
    parser.add_argument("--write-interval", action="store_true", help="calibrate the interval and write its data file")
    options = parser.parse_args()
    if not (NEURALART / "expected").is_dir():
        CONSOLE.print(f"no reference material at {NEURALART}; set N6_NEURALART")
        return 0
    reports = [] if options.write_interval else [compare_report(case) for case in reported()]
    if options.check:
        return check(reports)
    if reports:
        show_reports(reports)
    cases, skipped = measured_rows()
    times = [forecast(case) for case in cases]
    held, table = held_out(times)
    if options.write_interval:
        write_interval(times, table)
        return 0
    show_held_out("held out: every family predicted by the others", held)
    show_held_out("in time: the second round of evidence predicted by the first", newer_from_older(times))
    show_evidence()
    show_times(times, skipped)
    if not options.no_scaling:
        scaling()
    if options.json:
        rows = [
            {"name": t.case.name, "measured": t.case.milliseconds, "predicted": t.predicted, "held_out": one.predicted}
            for t, one in ((one.row, one) for one in held)
        ]
        Path(options.json).write_text(json.dumps({"reports": reports, "times": rows}, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
