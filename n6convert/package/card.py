"""The model card: ``README.md`` of a package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from n6convert.escaping import markdown_code, markdown_text
from n6convert.package.ports import Port
from n6convert.results import Report, WeightsReport

__all__ = ["card_text"]


def card_text(
    report: Report,
    inputs: Sequence[Port],
    outputs: Sequence[Port],
    files: Mapping[str, str],
    *,
    published: str = "",
    tables: int = 0,
    camera: Sequence[str] = (),
) -> str:
    """Markdown: what the model is, how good, how fast, how to feed it, whose weights and data it carries.

    Args:
        report: of the run.
        files: what lies in the package, a sentence each.
        published: license of the family's published weights, for weights that state none.
        tables: bytes that the package's tables take in flash beside the weights.
        camera: what the application must know about a camera in front of the model, a sentence each.
    """
    untrained = (
        ""
        if report.weights.trained
        else "\n> Untrained: the weights are random. Placement, memory and time hold; answers do not.\n"
    )
    sections = [
        f"# {markdown_text(report.model)} for {markdown_text(report.target)}\n{untrained}",
        "## Facts\n\n" + _table([("", "")] + _facts(report) + _flash(report, tables)),
        "## Interface\n\n" + _interface(inputs, outputs),
        *(["## Camera\n\n" + "\n".join(f"* {markdown_text(note)}" for note in camera)] if camera else []),
        "## Files\n\n" + "\n".join(f"* {markdown_code(name)}: {what}" for name, what in files.items()),
        "## Compile\n\n`./generate.sh` (Linux, macOS) or `generate.bat` (Windows) with ST Edge AI Core installed, or "
        "`n6convert compile .`, which also compares the compiler's report with the prediction.",
        "## Data\n\n" + _data(report),
        "## Licenses\n\n" + _licenses(report, published),
    ]
    return "\n\n".join(sections) + "\n"


def _facts(report: Report) -> list[tuple[str, str]]:
    rows = [("weights", markdown_text(report.weights.origin))]
    if report.placement is not None:
        e = report.placement.after.epochs
        rows.append(("epochs (predicted)", f"{e.total}: {e.hw} hw, {e.hybrid} hybrid, {e.sw} sw"))
    if time := report.latency:
        rows.append(("time (predicted)", f"{time.milliseconds:.2f} ms ({time.low:.2f} to {time.high:.2f})"))
    if found := report.accuracy:
        rows.append(
            (
                f"{markdown_text(found.metric)} (measured on {found.samples} samples)",
                f"float {found.float_value:.2f}, INT8 {found.int8:.2f}, drop {found.drop:.2f}",
            )
        )
    return rows


def _flash(report: Report, tables: int) -> list[tuple[str, str]]:
    if report.memory is None:
        return []
    weights = f"{report.memory.weights / 1024:,.0f} KiB of weights"
    return [("flash (predicted)", f"{weights} and {tables / 1024:,.0f} KiB of tables" if tables else weights)]


def _interface(inputs: Sequence[Port], outputs: Sequence[Port]) -> str:
    head = [("tensor", "buffer", "real value")]
    rows = [
        (f"{kind} {markdown_code(p.name)}", f"{p.dtype} {'x'.join(map(str, p.board_shape))}", _real(p))
        for kind, ports in (("in", inputs), ("out", outputs))
        for p in ports
    ]
    return _table(head + rows)


def _real(port: Port) -> str:
    return "as it is" if port.limits is None else f"{port.scale:.9g} * (q - {port.zero_point})"


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _data(report: Report) -> str:
    """What the ranges came from and what the figures were measured on, with counts."""
    seen, held = len(report.calibration.calibration), len(report.calibration.held_back)
    rows = [f"* calibrated on {_count(seen)} of {markdown_text(report.calibration.source or 'an unknown source')}"]
    rows += [f"* methods and SQNR judged on {_count(held)} held back"] if held else []
    accuracy, section = report.accuracy, report.recipe.get("evaluation", {})
    if accuracy and section.get("source"):
        labeled = markdown_text(Path(section["source"]).name)
        rows.append(f"* {markdown_text(accuracy.metric)} measured on {_count(accuracy.samples)} of {labeled}")
    else:
        rows.append("* accuracy not measured: no labeled samples were given")
    return "\n".join(rows)


def _count(samples: int) -> str:
    return f"{samples} sample{'s' * (samples != 1)}"


def _licenses(report: Report, published: str) -> str:
    rows = [f"* weights: {_weights_license(report.weights, published)}"]
    if report.calibration.synthetic:
        rows.append("* calibration samples: made by n6convert, free to use")
    else:
        rows.append("* calibration samples: given by you; n6convert does not know their license")
    if report.accuracy:
        rows.append("* evaluation samples: given by you; n6convert does not know their license")
    return "\n".join([*rows, "* generated C: free to use under Apache-2.0"])


def _weights_license(weights: WeightsReport, published: str) -> str:
    if weights.license:
        return markdown_text(weights.license)
    if not weights.trained:
        return "random numbers drawn by n6convert, free to use"
    origin = markdown_text(weights.origin)
    family = f"; the published weights of this family are {published}, which may bind what was trained from them, too"
    return (
        f"given by you ({origin}); n6convert does not know their license{family * bool(published)}. "
        "Make sure before you distribute them"
    )
