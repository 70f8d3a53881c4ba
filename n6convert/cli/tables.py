"""The estimate on a terminal: the schedule as a bar, what the time is spent on, memory pools, what it would take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from n6convert.cli.terminal import shown
from n6convert.npu.advice import Advice
from n6convert.npu.bottlenecks import Bottlenecks
from n6convert.npu.estimation import Estimate
from n6convert.npu.evidence import thin_words
from n6convert.npu.explanation import Explanation
from n6convert.npu.ir import Where
from n6convert.npu.placement import printed
from n6convert.reference import footer
from n6convert.report.time_spent import BOUND_WORDS

__all__ = ["COLORS", "print_estimate", "print_explanation"]

COLORS = {Where.HW: "green", Where.HYBRID: "yellow", Where.SW: "red", Where.NONE: "bright_black"}
"""One color for each place, in the terminal as in the HTML report."""
_BAR = 30
_ROWS = 12
_WORSE = (Where.SW, Where.HYBRID, Where.HW, Where.NONE)


def print_estimate(found: Estimate, console: Console) -> None:
    """Everything a person needs to decide what to do with the model."""
    console.print(_head(found))
    console.print(_epoch_bar([epoch.kind for epoch in found.schedule.epochs], console.width - 2))
    why = found.bottlenecks()
    console.print(_bounds(why))
    for table in (_longest(why), _levers(why), _pools(found), _kinds(found), _advice(found.advice)):
        if table.row_count:
            console.print(table)
    for line in _closing(found):
        console.print(line)


def _head(found: Estimate) -> RenderableType:
    counts, time = found.placement.epochs, found.costs.latency
    version = ".".join(map(str, found.target.version))
    lines = [Text.from_markup(f"[bold]{shown(found.model)}[/] on {shown(found.target.board)}, core {version}")]
    lines += [Text(f"  assuming: {line}", "dim") for line in time.assumptions]
    lines.append(
        Text.from_markup(
            f"[bold]{time.milliseconds:.2f} ms[/] ({time.low:.2f} to {time.high:.2f}); "
            f"{counts.total} epochs: [green]{counts.hw} hw[/], [yellow]{counts.hybrid} hybrid[/], "
            f"[red]{counts.sw} sw[/] in {found.placement.blobs} blobs"
        )
    )
    shares = [f"offload {counts.offload:.1%} of epochs"]
    for name, share in (("MACs", found.placement.mac_share), ("time", found.placement.time_share)):
        if share is not None:
            shares.append(f"{share:.1%} of {name} on the NPU")
    return Group(*lines, Text("; ".join(shares)))


def _epoch_bar(kinds: Sequence[Where], width: int) -> Text:
    """Epochs in order; where several share a cell, the one that costs most decides its color."""
    bar = Text()
    cells = max(1, min(width, len(kinds)))
    for cell in range(cells):
        part = kinds[cell * len(kinds) // cells : max((cell + 1) * len(kinds) // cells, cell * len(kinds) // cells + 1)]
        worst = next((kind for kind in _WORSE if kind in part), Where.NONE)
        bar.append("█", COLORS[worst])
    return bar


def _bounds(why: Bottlenecks) -> Text:
    """Where the time goes, in one line: the largest share first."""
    total = sum(why.milliseconds.values()) or 1.0
    ranked = sorted(why.milliseconds.items(), key=lambda item: -item[1])
    parts = [f"{BOUND_WORDS[name]} {value:.2f} ms ({value / total:.0%})" for name, value in ranked]
    return Text(f"the time goes to {', '.join(parts)}" if parts else "no time is spent")


def _longest(why: Bottlenecks) -> Table:
    table = Table(title="the longest epochs", title_justify="left", box=None, pad_edge=False)
    for heading in ("epoch", "operators", "ms", "share", "waits for", "what helps most"):
        table.add_column(heading, justify="right" if heading in ("epoch", "ms", "share") else "left")
    for one in why.longest:
        helps = f"{one.lever}: {one.gain:.2f} ms less" if one.lever else "-"
        cells = (str(one.epoch), shown(one.operators), f"{one.milliseconds:.3f}", f"{one.share:.0%}")
        table.add_row(*cells, BOUND_WORDS[one.bound], shown(helps))
    return table


def _levers(why: Bottlenecks) -> Table:
    table = Table(title="what would change it (gains do not add up)", title_justify="left", box=None, pad_edge=False)
    for heading in ("change", "ms less", "how"):
        table.add_column(heading, justify="right" if heading == "ms less" else "left")
    for lever in why.levers:
        table.add_row(shown(lever.name), f"{lever.gain:.2f}", shown(lever.how))
    return table


def _kinds(found: Estimate) -> Table:
    times = {epoch.id: epoch.microseconds + epoch.overhead for epoch in found.costs.epochs}
    sums: dict[tuple[Where, str], list[float]] = defaultdict(list)
    for epoch in found.schedule.epochs:
        if epoch.ops:
            sums[epoch.kind, printed(epoch.ops[0], found.target.version)].append(times.get(epoch.id, 0.0))
    table = Table(title="time by first operator of the epoch", title_justify="left", box=None, pad_edge=False)
    for heading in ("", "operator", "epochs", "ms", ""):
        table.add_column(heading, justify="right" if heading in ("epochs", "ms") else "left")
    total = sum(times.values()) or 1.0
    ranked = sorted(sums.items(), key=lambda item: -sum(item[1]))
    for (where, kind), values in ranked[:_ROWS]:
        share = sum(values) / total
        row = (where.value, shown(kind), str(len(values)), f"{sum(values) / 1000:.3f}", "█" * round(share * _BAR))
        table.add_row(*row, style=COLORS[where])
    return table


def _pools(found: Estimate) -> Table:
    table = Table(title="memory", title_justify="left", box=None, pad_edge=False)
    for heading in ("pool", "used", "size", ""):
        table.add_column(heading, justify="right" if heading in ("used", "size") else "left")
    for pool in found.costs.memory.pools:
        if not pool.used:
            continue
        share = min(1.0, pool.used / pool.size) if pool.size else 1.0
        color = "red" if pool.external and pool.activations else "cyan"
        filled = round(share * _BAR)
        bar = f"[{color}]{'█' * filled}[/][bright_black]{'░' * (_BAR - filled)}[/]"
        table.add_row(shown(pool.name), f"{pool.used:,}", f"{pool.size:,}", bar)
    return table


def _advice(lines: Sequence[Advice]) -> Table:
    table = Table(title="what would it take (gains are inferred)", title_justify="left", box=None, pad_edge=False)
    for heading in ("operator", "epochs", "ms", "gain ms", "rewrite", "remedy"):
        table.add_column(heading, justify="right" if heading in ("epochs", "ms", "gain ms") else "left")
    for line in lines[:_ROWS]:
        gain = f"{line.gain_microseconds / 1000:.3f}" if line.gain_microseconds else "-"
        cells = (shown(line.op), str(line.epochs), f"{line.microseconds / 1000:.3f}", gain, line.rewrite or "-")
        table.add_row(*cells, shown(line.remedy or line.reason))
    return table


def _closing(found: Estimate) -> Iterable[Text]:
    for line in _thin(found):
        yield Text(line, "dim")
    for warning in found.warnings:
        yield Text(f"warning: {warning}", "yellow")


def _thin(found: Estimate) -> Iterable[str]:
    """Rules of thin evidence that decide something here, with the operators they decide."""
    operators: dict[tuple[str, str], list[str]] = defaultdict(list)
    for operator in found.placement.operators:
        words = thin_words(operator.evidence)
        if words is not None and operator.where is not Where.NONE:
            operators[operator.rule, f"{words}: {operator.evidence}"].append(operator.name)
    for (rule, words), names in operators.items():
        yield f"rule {shown(rule)} decides {len(names)} operators here, {shown(words)}"


def print_explanation(found: Explanation, console: Console) -> None:
    """The rules of one operator, in the order in which they are tried."""
    version = ".".join(map(str, found.version))
    console.print(f"[bold]{shown(found.op)}[/], core {version}; the first rule that applies decides:")
    for number, rule in enumerate(found.rules, 1):
        place = rule.where.value + (" in float" if rule.float else "")
        console.print(f"{number}. [{COLORS[rule.where]}]{place}[/] ({rule.name}): {shown(rule.sentence)}")
        thin = thin_words(rule.evidence)
        console.print(f"   evidence: {shown(rule.evidence)}{f' [{thin}]' if thin else ''}", style="dim", markup=False)
        if rule.remedy:
            suffix = f" (rewrite {rule.rewrite})" if rule.rewrite else ""
            console.print(f"   remedy: {shown(rule.remedy)}{suffix}")
    if line := footer(rule.evidence for rule in found.rules):
        console.print(shown(line), style="dim")
