"""Figures of the structure: sizes, docstrings, tests beside code, imports. ``python benchmarks/structure.py``

What is printed is counted from the checkout alone. Imports are those that run, lazy ones included, type-only ones not.
"""

from __future__ import annotations

import ast
import configparser
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: bases that bring no methods of their own
_NO_METHODS = {"ABC", "Protocol", "Generic", "NamedTuple", "Enum", "StrEnum", "BaseModel", "object"}
PARTS = {"n6convert": ["n6convert"], "plugins": ["plugins"], "tests": ["tests"]}


@dataclass
class Counts:
    """Sizes of one part of the checkout."""

    files: list[int] = field(default_factory=list)
    functions: list[int] = field(default_factory=list)
    public: int = 0
    documented: int = 0
    many_parameters: int = 0
    with_args: int = 0


def main() -> None:
    """Print both tables."""
    counted = {name: count(modules(tops)) for name, tops in PARTS.items()}
    print("| | " + " | ".join(counted) + " |\n|---|" + "---|" * len(counted))
    rows = {
        "files, lines": lambda c: f"{len(c.files)}, {sum(c.files):,}",
        "lines per file: median, p90, max": lambda c: spread(c.files),
        "files above 200 / 300 lines": lambda c: f"{over(c.files, 200)} / {over(c.files, 300)}",
        "functions": lambda c: f"{len(c.functions):,}",
        "lines per function: median, p90, max": lambda c: spread(c.functions),
        "functions above 40 / 80 lines": lambda c: f"{over(c.functions, 40)} / {over(c.functions, 80)}",
        "public names with docstring": lambda c: f"{c.documented} of {c.public}",
        "public functions of 3 and more parameters with Args": lambda c: f"{c.with_args} of {c.many_parameters}",
    }
    for title, cell in rows.items():
        print(f"| {title} | " + " | ".join(cell(c) for c in counted.values()) + " |")
    code = sum(counted["n6convert"].files) + sum(counted["plugins"].files)
    print(f"\nlines of test per line of code: {sum(counted['tests'].files) / code:.2f}")
    alone, all_modules = without_test()
    print(f"modules with a test of their stem: {all_modules - len(alone)} of {all_modules}")
    print("\n".join(imports()))


def modules(tops: Iterable[str]) -> list[Path]:
    """Python files below the folders, templates left out."""
    return sorted(p for top in tops for p in (ROOT / top).rglob("*.py") if "template" not in p.parts)


def count(paths: Iterable[Path]) -> Counts:
    """Sizes and docstrings of the files."""
    found = Counts()
    inherited = told_by_a_base()
    for path in paths:
        text = path.read_text("utf-8")
        found.files.append(text.count("\n"))
        for node, is_public in definitions(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                found.functions.append((node.end_lineno or node.lineno) - node.lineno + 1)
            if is_public and (str(path), node.lineno) not in inherited:
                count_docstring(node, found)
    return found


@cache
def told_by_a_base() -> frozenset[tuple[str, int]]:
    """Methods without a docstring whose base class, here or elsewhere, has one for them: file and line."""
    classes = [
        (path, node)
        for path in modules(["n6convert", "plugins"])
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.ClassDef)
    ]
    known: dict[str, list[ast.ClassDef]] = {}
    for _, node in classes:
        known.setdefault(node.name, []).append(node)
    return frozenset(
        (str(path), method.lineno)
        for path, node in classes
        for method in node.body
        if isinstance(method, ast.FunctionDef)
        and not ast.get_docstring(method)
        and _in_a_base(node, method.name, known, frozenset())
    )


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def _in_a_base(
    node: ast.ClassDef, method: str, known: dict[str, list[ast.ClassDef]], seen: frozenset[ast.ClassDef]
) -> bool:
    """Whether a base class documents the method; what a base from another package has counts as documented there."""
    for base in node.bases:
        name = ast.unparse(base).split("[")[0].split(".")[-1]
        if name not in known and name not in _NO_METHODS:
            return True
        for parent in known.get(name, []):
            own = [m for m in parent.body if isinstance(m, ast.FunctionDef) and m.name == method]
            if any(ast.get_docstring(m) for m in own):
                return True
            if parent not in seen and _in_a_base(parent, method, known, seen | {parent}):
                return True
    return False


def definitions(tree: ast.Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, bool]]:
    """Classes and functions, and whether they are public: no underscore and no function on the way to them."""
    stack: list[tuple[ast.AST, bool]] = [(tree, True)]
    while stack:
        node, is_public = stack.pop()
        is_public = is_public and not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                shown = is_public and not child.name.startswith("_")
                yield child, shown
                stack.append((child, shown))
            else:
                stack.append((child, is_public))


def count_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, found: Counts) -> None:
    """Add one public name."""
    text = ast.get_docstring(node) or ""
    found.public += 1
    found.documented += bool(text)
    if not isinstance(node, ast.ClassDef):
        arguments = [a for a in (*node.args.args, *node.args.kwonlyargs) if a.arg not in ("self", "cls")]
        found.many_parameters += len(arguments) >= 3
        found.with_args += len(arguments) >= 3 and "Args:" in text


def spread(values: list[int]) -> str:
    """Median, 90th percentile and maximum."""
    ordered = sorted(values)
    return f"{statistics.median(ordered):.0f}, {ordered[int(len(ordered) * 0.9)]}, {ordered[-1]}"


def over(values: list[int], limit: int) -> int:
    """How many are above the limit."""
    return sum(value > limit for value in values)


def without_test() -> tuple[list[Path], int]:
    """Modules of the core that no test file is named like, and how many modules there are."""
    stems = {p.stem.removeprefix("test_") for p in modules(["tests"])}
    named = [p for p in modules(["n6convert"]) if not p.stem.startswith("__")]
    return [p for p in named if p.stem.lstrip("_") not in stems], len(named)


def imports() -> Iterator[str]:
    """Upward imports and circles, by the order that ``.importlinter`` states."""
    import grimp

    settings = configparser.ConfigParser()
    settings.read(ROOT / ".importlinter")
    lines = settings["importlinter:contract:floors"]["layers"].split("\n")
    floors = {name.strip(): floor for floor, line in enumerate(lines) for name in line.split("|") if name.strip()}
    graph = grimp.build_graph("n6convert", exclude_type_checking_imports=True)
    floor_of = {module: floor(module, floors) for module in graph.modules}
    arrows = [(a, b) for a in graph.modules for b in graph.find_modules_directly_imported_by(a)]
    known = [(a, b, floor_of[a], floor_of[b]) for a, b in arrows]
    upward = [(a, b) for a, b, low, high in known if low is not None and high is not None and high < low]
    yield f"imports {len(arrows)}, upward {len(upward)}{', each an exception in .importlinter:' if upward else ''}"
    yield from (f"  {a} -> {b}" for a, b in sorted(upward))
    yield f"circles of modules: {len(circles(arrows))}"
    yield from (f"  {' '.join(sorted(names))}" for names in circles(arrows))


def floor(module: str, floors: dict[str, int]) -> int | None:
    """The floor of a module: that of the longest name it lies below."""
    parts = module.split(".")
    names = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((floors[name] for name in names if name in floors), None)


def circles(arrows: Iterable[tuple[str, str]]) -> list[set[str]]:
    """Groups of modules that import each other, directly or not."""
    import networkx

    return [names for names in networkx.strongly_connected_components(networkx.DiGraph(arrows)) if len(names) > 1]


if __name__ == "__main__":
    main()
