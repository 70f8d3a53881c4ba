"""What messages tell people to type exists: commands, options, keys of recipes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from n6convert.cli.registry import COMMANDS, real_command
from n6convert.recipe.schema import Recipe
from n6convert.registry import list_models

ROOT = Path(__file__).parents[1]
SOURCES = [p for top in ("n6convert", "plugins") for p in (ROOT / top).rglob("*.py")]
#: a command with what follows it, in backquotes
COMMAND = re.compile(r"`n6convert ([^`]+)`")
#: options of pip and of stedgeai, which messages name too
FOREIGN = {"--break-system-packages", "--fix-parametric-shapes", "--st-neural-art", "--upgrade"}


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the code with its place; what an f-string inserts is an ellipsis."""
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            place = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.JoinedStr):
                parts = (str(v.value) if isinstance(v, ast.Constant) else "MODEL" for v in node.values)
                yield place, "".join(parts)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield place, node.value


def remedies() -> Iterator[tuple[str, str]]:
    """Every text that is given as ``remedy=``."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "remedy":
                for part in ast.walk(node.value):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield f"{path.relative_to(ROOT)}:{part.lineno}", part.value


def options(command: str) -> set[str]:
    return {flag for p in real_command(command).params for flag in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}


@pytest.fixture(scope="module")
def flags() -> dict[str, set[str]]:
    return {name: options(name) for name in COMMANDS}


def test_commands_in_messages_exist_with_their_options(flags: dict[str, set[str]]) -> None:
    wrong, seen = [], 0
    models = {entry.name for entry in list_models()}
    for place, text in texts():
        for words in (m.group(1).split() for m in COMMAND.finditer(text)):
            seen += 1
            name = words[0] if words[0] in COMMANDS else "convert"
            if name == "convert" and words[0] not in COMMANDS and words[0].islower() and words[0] not in models:
                is_file = re.search(r"\.(onnx|tflite|pt)$", words[0]) or words[0].startswith("-")
                wrong += [] if is_file else [f"{place}: n6convert {words[0]}"]
            given = {w.partition("=")[0] for w in words if w.startswith("--") and len(w) > 2}
            wrong += [f"{place}: {name} {option}" for option in given - flags[name] - {"--version", "--debug"}]
    assert seen > 40 and not wrong


def test_options_in_remedies_exist(flags: dict[str, set[str]]) -> None:
    known = set().union(*flags.values()) | FOREIGN | {"--debug", "--version"}
    found = [(place, option) for place, text in remedies() for option in re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)]
    assert len(found) > 30
    assert [f"{place}: {option}" for place, option in found if option not in known] == []


def test_keys_of_recipes_in_remedies_exist() -> None:
    sections = {name: set(field.annotation.model_fields) for name, field in Recipe.model_fields.items()
                if hasattr(field.annotation, "model_fields")}  # fmt: skip
    pattern = re.compile(rf"\b({'|'.join(sections)})\.([a-z_]+)")
    found = [(place, *m.groups()) for place, text in remedies() for m in pattern.finditer(text)]
    assert len(found) >= 5
    assert [f"{place}: {section}.{key}" for place, section, key in found if key not in sections[section]] == []
