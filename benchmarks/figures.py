"""Makes the figures of README.md, docs/models/figures.md and docs/quantization.md anew, and says which no longer hold.

A documented figure holds while a run gives the same counts, a loss in whose 95 % interval the documented one lies,
times and memory within 2 %, and dB within 1. ``python benchmarks/figures.py`` writes what it found in place of what it
read; ``--check`` writes nothing and fails where something does not hold; names of recipes choose some of the columns.
``--turn N`` takes one of the others besides, another one for every N, until all had their turn.
Real weights and samples come from ``N6_DATA``.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_pages import HEAD, PAGES, ROWS, TARGETS, Page, lines, report_of

ROOT = Path(__file__).resolve().parents[1]
README, PAGE = ROOT / "README.md", ROOT / "docs" / "models" / "figures.md"
GALLERY = PAGE.with_name("index.md")
SIGNALS = ROOT / "docs" / "quantization.md"
#: above a table whose rows are the cases of the command, in order, and whose columns are these methods
_COMMAND = re.compile(r"<!-- figures: python (benchmarks/bench_methods\.py .+?) -->\n\n")
_METHODS = ("input alone", "min-max", "default recipe")
_MARK = "<!-- figures of the newest core, made by `make figures` -->"
DATA = Path(os.environ.get("N6_DATA", ROOT.parent / "shared" / "data"))
_NUMBER = re.compile(r"-?\d[\d,]*\.?\d*")
_RELATIVE, _DECIBEL = 0.02, 1.0
#: what README shows: the command as it is typed there, and as it is run on the local material
SHOWN = {
    "make demo": "n6convert yolov8n --weights seeded --imgsz 256",
    "n6convert yolov8n --weights yolov8n.pt --imgsz 640": (
        f"n6convert yolov8n --weights {DATA}/weights/yolov8n.pt --imgsz 640 --calibration {DATA}/images/imagenet500 "
        f"--evaluate {DATA}/images/coco_det_instances.json"
    ),
}


def main() -> int:
    """Tell what does not hold; 1 where ``--check`` finds something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="recipes of figures.md, README.md, quantization.md; default all")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--turn", type=int, help="check one of those that are not named as well, by this number")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"the material is not at {DATA}; set N6_DATA: nothing made, nothing checked")
        return 0
    broken = list(_page(asked.names, asked.check))
    if not asked.names or "README.md" in asked.names:
        broken += _readme(asked.check)
    if not asked.names or SIGNALS.name in asked.names:
        broken += _signals(asked.check)
    if asked.turn is not None:
        broken += in_turn(asked.turn, asked.names)
    print("\n".join(broken) or "every figure holds")
    return int(asked.check and bool(broken))


def _page(names: Sequence[str], check: bool) -> Iterator[str]:
    text = PAGE.read_text(encoding="utf-8")
    sections = {s.partition("\n")[0]: s.rstrip() for s in text.split("\n## ")[1:]}
    for page in PAGES:
        if names and page.recipe not in names:
            continue
        print(page.recipe, flush=True)
        reports = [report_of(page, target, DATA) for target in TARGETS]
        yield from disagreements(page.title, sections.get(page.title, ""), reports)
        sections[page.title] = "\n".join(lines(page, reports)).removeprefix("## ")
    if not check:
        parts = [HEAD, *(f"## {sections[p.title]}" for p in PAGES if p.title in sections)]
        PAGE.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        write_gallery()


def others(names: Sequence[str]) -> list[tuple[Page, int] | str]:
    """What is left to compare beside the named recipes: columns of figures.md, and runs that README shows.

    Args:
        names: of recipes.
    """
    columns = [(p, i) for p in PAGES if p.recipe not in names for i in range(len(TARGETS))]
    return [*columns, *(SHOWN if "README.md" not in names else ())]


def in_turn(turn: int, names: Sequence[str]) -> Iterator[str]:
    """What one of :func:`others` says and a run does not.

    Args:
        turn: which one, counted round and round.
        names: of recipes that are compared anyway.
    """
    left = others(names)
    chosen = left[turn % len(left)]
    if isinstance(chosen, str):
        yield from _readme(True, [chosen])
        return
    page, column = chosen
    print(page.recipe, TARGETS[column], flush=True)
    section = PAGE.read_text(encoding="utf-8").partition(f"## {page.title}\n")[2].partition("\n## ")[0]
    yield from disagreements(page.title, section, [report_of(page, TARGETS[column], DATA)], column)


def write_gallery() -> None:
    """The table of docs/models/index.md, from figures.md."""
    before = GALLERY.read_text(encoding="utf-8").partition(_MARK)[0]
    GALLERY.write_text(f"{before}{_MARK}\n\n{gallery(PAGE.read_text(encoding='utf-8'))}", encoding="utf-8")


def gallery(page: str) -> str:
    """A table with a row for each section of figures.md, of its last column."""
    rows = ["| model | epochs | time | activations | weights | accuracy |", "|---|---|---|---|---|---|"]
    for section in page.split("\n## ")[1:]:
        title = section.partition("\n")[0]
        cells = {r[0]: r[-1] for r in (line.strip("| ").split(" | ") for line in section.splitlines()) if len(r) > 1}
        shown = (cells[row] for row in ("epochs as converted", "time as converted", "activations", "weights"))
        rows.append(f"| {title} | {' | '.join(shown)} | {cells['accuracy (measured)']} |")
    return "\n".join(rows) + "\n"


def disagreements(title: str, section: str, reports: Sequence[Any], first: int = 0) -> Iterator[str]:
    """What a section of figures.md says and these reports, one a column from the first on, do not."""
    documented = {
        r[0]: r[1 + first :] for r in (line.strip("| ").split(" | ") for line in section.splitlines()) if len(r) > 1
    }
    for name, cell in ROWS:
        for report, old in zip(reports, documented.get(name, ["nothing"] * len(reports)), strict=False):
            new = cell(report)
            if not (within(old, report) if report.accuracy and cell.__name__ == "accuracy" else same(old, new)):
                yield f"{title}, {report.target}, {name}: documented {old}; found {new}"


def within(old: str, report: Any) -> bool:
    """Whether the documented loss lies in the interval of the one found."""
    loss = re.search(r"(-?\d+\.\d+) points", old)
    low, high = report.accuracy.interval or (report.accuracy.drop, report.accuracy.drop)
    return loss is not None and low - 0.005 <= float(loss[1]) <= high + 0.005


def same(old: str, new: str) -> bool:
    """Whether two texts say the same: counts to the letter, what has a fraction or a unit within limits."""
    words = [_NUMBER.split(text) for text in (old, new)]
    if words[0] != words[1]:
        return False
    numbers = [[float(n.replace(",", "")) for n in _NUMBER.findall(text)] for text in (old, new)]
    units = words[0][1:]
    return all(abs(a - b) <= _limit(a, unit) for a, b, unit in zip(*numbers, units, strict=True))


def _limit(value: float, unit: str) -> float:
    if unit.startswith(" dB"):
        return _DECIBEL
    measured = unit.startswith((" ms", " to ", ")", " KiB", " bytes", " s"))
    return abs(value) * _RELATIVE if measured else 1e-9


def _readme(check: bool, runs: Sequence[str] = tuple(SHOWN)) -> Iterator[str]:
    text = README.read_text(encoding="utf-8")
    for shown, command in ((s, SHOWN[s]) for s in runs):
        before, _, rest = text.partition(shown)
        head, _, tail = rest.partition("\nmodel  ")
        block, end, after = f"model  {tail}".partition("\n```")
        print(command, flush=True)
        made = block_of(block, _output(command))
        for old, new in zip(block.splitlines(), made.splitlines(), strict=True):
            if not old.startswith(("stages", "warning")) and not same(old, new):
                yield f"README.md, {shown}: documented {old}; found {new}"
        text = f"{before}{shown}{head}\n{made}{end}{after}"
    if not check:
        README.write_text(text, encoding="utf-8")


def _signals(check: bool) -> Iterator[str]:
    """The table of docs/quantization.md whose command stands above it."""
    text = SIGNALS.read_text(encoding="utf-8")
    mark = _COMMAND.search(text)
    assert mark is not None
    script, *cases = mark[1].split()
    print(mark[1], flush=True)
    done = subprocess.run(
        [sys.executable, str(ROOT / script), *cases, "--rows", *_METHODS[1:]],
        capture_output=True,
        text=True,
        check=True,
    )
    table, _, after = text[mark.end() :].partition("\n\n")
    made = table_of(table, done.stdout, cases)
    for old, new in zip(table.splitlines(), made.splitlines(), strict=True):
        if not same(old, new):
            yield f"docs/quantization.md: documented {old}; found {new}"
    if not check:
        SIGNALS.write_text(f"{text[: mark.end()]}{made}\n\n{after}", encoding="utf-8")


def table_of(table: str, output: str, cases: Sequence[str]) -> str:
    """The table with a line a case, its label kept, its figures as the benchmark printed them."""
    head, rule, *rows = table.splitlines()
    pattern = r"^{case} +{method} +(-?[\d.]+)"
    found = [[re.search(pattern.format(case=re.escape(c), method=m), output, re.M) for m in _METHODS] for c in cases]
    values = [" | ".join(f"{float(f[1]):.1f} dB" if f else "nothing" for f in line) for line in found]
    labels = [row.split(" | ")[0] for row in rows]
    return "\n".join([head, rule, *(f"{a} | {b} |" for a, b in zip(labels, values, strict=True))])


def block_of(block: str, output: str) -> str:
    """The lines of a block as a command printed them now, each by its first words; lines it did not print stay."""
    found = {_key(line): line.rstrip() for line in output.splitlines()}
    return "\n".join(found.get(_key(line), line) for line in block.splitlines())


def _key(line: str) -> str:
    return line[:24] if line.startswith("warning") else line.partition("  ")[0]


def _output(command: str) -> str:
    with TemporaryDirectory() as folder:
        arguments = [sys.executable, "-m", *shlex.split(command)]
        # `next` names the command as a shell would find it, as in an activated environment
        found = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        variables = os.environ | {"COLUMNS": "400", "PATH": found}
        done = subprocess.run(arguments, cwd=folder, env=variables, capture_output=True, text=True)
        if done.returncode not in (0, 3):
            raise SystemExit(done.stderr)
        return done.stdout + done.stderr


if __name__ == "__main__":
    raise SystemExit(main())
