"""The end of a conversion on the terminal: where the time goes, in one line of color, and what to do next."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

__all__ = ["next_command", "page_link", "program_name", "time_bar"]

#: what an epoch waits for -> color and word
_PARTS = {
    "compute": ("green", "compute"),
    "memory": ("cyan", "on-chip memory"),
    "flash": ("blue", "weights from flash"),
    "external": ("red", "external RAM"),
    "hybrid": ("yellow", "CPU and NPU"),
    "software": ("red", "CPU"),
    "overhead": ("bright_black", "epoch starts"),
}
_WIDTH = 40


def time_bar(report: Mapping[str, Any], width: int = _WIDTH) -> Text | None:
    """The predicted time by what it waits for: a bar of ``width`` cells and a legend; None where it is not known."""
    parts = {k: v for k, v in ((report.get("latency") or {}).get("parts") or {}).items() if v > 0}
    total = sum(parts.values())
    if not total:
        return None
    ranked = sorted(parts.items(), key=lambda item: -item[1])
    bar, legend, drawn, passed = Text(), Text(), 0, 0.0
    for name, value in ranked:
        color, word = _PARTS.get(name, ("white", name))
        passed += value
        end = round(width * passed / total)
        bar.append("█" * (end - drawn), color)
        drawn = end
        legend.append("  ").append("■", color).append(f" {word} {value:.1f} ms")
    return bar + legend


def page_link(page: Path) -> Text:
    """A path that terminals make clickable."""
    return Text(str(page), f"link {page.resolve().as_uri()}")


def next_command(report: Mapping[str, Any], folder: Path) -> str:
    """The command that a reader most likely wants next: real weights, real samples, labels, or ST's compiler.

    What was chosen for this run is chosen in it, too.
    """
    weights, recipe = report["weights"], report["recipe"]
    model, program = report["model"], program_name()
    chosen = "".join(f" {word}" for word in _chosen(recipe))
    own = f"{program} {shlex.quote(recipe['weights']) if model == 'onnx' else model}"
    if not weights["trained"]:
        return f"{own} --weights FILE{chosen} --calibration SAMPLES --evaluate LABELS"
    given = "" if model == "onnx" else f" --weights {shlex.quote(recipe['weights'])}"
    if (report.get("calibration") or {}).get("synthetic"):
        return f"{own}{given}{chosen} --calibration SAMPLES --evaluate LABELS"
    if not recipe["evaluation"]["source"]:
        source = shlex.quote(str(recipe["calibration"]["source"]))
        return f"{own}{given}{chosen} --calibration {source} --evaluate LABELS"
    return f"{program} compile {shlex.quote(str(folder))}"


def _chosen(recipe: Mapping[str, Any]) -> Iterator[str]:
    """Options of the model and the target, as the command line takes them."""
    from n6convert.npu.targets import DEFAULT_TARGET  # with all targets: 20 ms, for one line behind a result

    for key, value in (recipe.get("options") or {}).items():
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            text = shlex.quote(str(value))
            yield f"--imgsz {text}" if key == "imgsz" else f"--set options.{key}={text}"
    target = recipe.get("target")
    if target and target != DEFAULT_TARGET:
        yield f"--target {shlex.quote(str(target))}"


def program_name() -> str:
    """How a shell finds this program: by its name, or by the interpreter where its folder is not on the path."""
    if shutil.which("n6convert"):
        return "n6convert"
    interpreter = Path(sys.executable)
    if interpreter.is_relative_to(Path.cwd()):
        interpreter = interpreter.relative_to(Path.cwd())
    return f"{shlex.quote(str(interpreter))} -m n6convert"
