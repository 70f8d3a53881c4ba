"""Every figure of the documents says where it comes from: a command of the repository, or why it is no measurement."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: made by `make figures` or `make study` as a whole, or with a citation for each line, which another test resolves
GENERATED = {"docs/models/figures.md", "docs/models/index.md", "docs/study.md", "docs/reference/neural-art.md"}
_FIGURE = re.compile(r"\d[\d.,]* ?(?:%|(?:ms|dB|AP|KiB|MiB|MB|OKS|points)\b)")
_CODE = re.compile(r"^```.*?^```$|(?:^ {4,}\S.*\n?)+", re.M | re.S)
#: `<!-- figures: COMMAND -->`, `<!-- no measurements: REASON -->`; stands for its section
_MARK = re.compile(r"<!-- (?:figures: (?P<command>.+?)|no measurements: (?P<reason>\w.+?)) -->")
_COMMAND = re.compile(r"(?:`|: )make ([\w-]+)|(?:benchmarks/)?(bench_\w+\.py)")


def documents() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def sections(text: str) -> Iterator[str]:
    """Headings with what stands below them, code left out."""
    yield from re.split(r"^(?=#+ )", _CODE.sub("", text), flags=re.M)


def has_source(section: str) -> bool:
    """Whether a section names a command that is there, the generated page, or a reason."""
    marks = list(_MARK.finditer(section))
    commands = [c for m in _COMMAND.finditer(section) for c in m.groups() if c]
    known = [c for c in commands if exists(c)]
    assert len(known) == len(commands), f"no such command: {set(commands) - set(known)}"
    return bool(known) or "figures.md" in section or any(m["reason"] for m in marks)


def exists(command: str) -> bool:
    if command.endswith(".py"):
        return (ROOT / "benchmarks" / command).is_file()
    return re.search(rf"^{re.escape(command)}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M) is not None


@pytest.mark.parametrize("path", documents(), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_figure_stands_without_its_source(path: Path) -> None:
    if str(path.relative_to(ROOT)) in GENERATED:
        return
    found = [s for s in sections(path.read_text(encoding="utf-8")) if _FIGURE.search(_MARK.sub("", s))]
    unsourced = [f"{s.splitlines()[0]}: {_FIGURE.findall(s)}" for s in found if not has_source(s)]
    assert not unsourced, unsourced


@pytest.mark.parametrize(
    ("text", "good"),
    [
        ("## A\nIt takes 5.1 ms.\n", False),
        ("## A\nIt takes 5.1 ms, by `make bench-npu`.\n", True),
        ("## A\n<!-- figures: make bench-npu -->\n30 dB\n", True),
        ("## A\n<!-- no measurements: a limit -->\n95 %\n", True),
        ("## A\n<!-- no measurements:  -->\n95 %\n", False),
        ("## A\n`make bench-npu`\n## B\n30 dB\n", False),
        ("## A\nin 5 steps on 3 cores\n```\n40 dB\n```\n", True),
    ],
)
def test_what_counts_as_a_source(text: str, good: bool) -> None:
    assert all(has_source(s) for s in sections(text) if _FIGURE.search(_MARK.sub("", s))) == good


def test_the_guide_says_of_every_command_whether_ci_compares_it() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Which figures CI compares")[2]
    table = guide.partition("\n## ")[0]
    named = {
        c for path in documents() for m in _COMMAND.finditer(path.read_text(encoding="utf-8")) for c in m.groups() if c
    }
    told = {c for m in _COMMAND.finditer(table) for c in m.groups() if c}
    assert {c for c in named if c.startswith("bench")} <= told
