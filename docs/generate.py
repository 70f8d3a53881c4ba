"""Pages that come from the code itself: the operator table from the placement rules, the recipe reference from the
schema. Runs as a mkdocs hook, so that no page can be older than what it describes."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_OPERATORS = """# Operators: what runs where

Made from the rules that the predictor applies. `n6convert explain OPERATOR` says the same on the command line, and
`n6convert estimate MODEL` applies it to a model. A rule's evidence is *documented* by ST, *seen* in compiler output, or
*inferred*.

{table}
"""
_REWRITES = """# Rewrites

Made from the catalog of rules. Every conversion runs them on the float graph, in this order and to a fixpoint, and
`n6convert rewrite FILE.onnx` does it for a file of your own.

* Every application is proven: the rewritten graph answers real samples as the original does, to float32's precision.
* A rule without which the whole graph is predicted faster is left out, and both times are told.
* Where a rule could write several forms, it takes the one that is predicted fastest, and the others' times are told.
* A place where a pattern was found and the rule did not run is listed with the reason.

| rule | what it does | why |
|---|---|---|
{rows}
"""
_COMMANDS = """# Commands

Made from the command line itself; `n6convert COMMAND --help` says the same. A first word that is no command is a model:
`n6convert yolov8n` means `n6convert convert yolov8n`. `n6convert --install-completion` lets the shell complete
commands, models, targets and recipe keys. Exit codes: 0 done, 1 failed, 2 wrong usage or recipe, 3 converted but not
acceptable, 130 interrupted. `--debug` shows tracebacks.

{commands}
"""
_API = """# Python functions

Made from the docstrings. Everything here is imported from `n6convert`; nothing prints, exits or asks. Every error is an
`n6convert.N6ConvertError` with `stage`, `place`, `limit`, `found` and `remedy`. What plugin authors import is in the
[plugin guide](plugin-guide.md).

{names}
"""
_RECIPES = """# Recipe reference

Made from the schema. `n6convert recipe MODEL` prints the full effective recipe of a model, ready to save and change;
`n6convert recipe --schema` prints the JSON Schema for editors. A recipe may start with `extends: NAME_OR_PATH`, one
level deep. A recipe with a section `sweep` (lists of values by dotted key) is a grid for `n6convert sweep`. On the
command line every key is reached by `--set key=value`.

{tables}
"""


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages."""
    from n6convert.npu import operator_table
    from n6convert.recipe.writing import recipe_schema
    from n6convert.reference import as_links

    pages = {
        "operators.md": _OPERATORS.format(table=as_links(operator_table())),
        "rewrites.md": _REWRITES.format(rows="\n".join(_rules())),
        "api.md": _API.format(names="\n".join(_functions())),
        "commands.md": _COMMANDS.format(commands="\n".join(_commands())),
        "notebook.md": _notebook(),
        "recipes.md": _RECIPES.format(tables="\n".join(_sections(recipe_schema()))),
    }
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Fill the tables of the quantization page."""
    if page.file.src_uri != "quantization.md":
        return markdown
    return markdown.replace("<!-- methods -->", "\n".join(_methods())).replace("<!-- causes -->", "\n".join(_causes()))


def _notebook() -> str:
    """The executed notebook as a page."""
    folder = Path(__file__).parent
    made = runpy.run_path(str(folder / "execute_notebook.py"))["markdown_of"]
    return str(made(json.loads((folder / "first-steps.ipynb").read_text(encoding="utf-8"))))


def _methods() -> Iterator[str]:
    from inspect import getdoc

    from n6convert.quantization.methods import METHODS

    yield from ("| method | what it does | time, in runs over the samples |", "|---|---|---|")
    for method in METHODS:
        yield f"| {method.name} | {_cell(getdoc(method.attempt) or '')} | {method.cost:g} |"


def _causes() -> Iterator[str]:
    from n6convert.quantization.sensitivity import CAUSES

    return (f"| {cause} | {_cell(seen)} | {_cell(remedy)} |" for cause, (seen, remedy) in CAUSES.items())


def _rules() -> Iterator[str]:
    """A row for every rule: its name, its summary, and what its module says first."""
    from inspect import getdoc, getmodule

    from n6convert.rewrites import all_rules

    for rule in all_rules():
        words = (getdoc(getmodule(type(rule))) or "").split("\n\n")[0].split()
        why = " ".join(words).replace("|", "\\|").replace("``", "`").removesuffix("::").replace(":mod:", "")
        yield f"| `{rule.name}` | {rule.summary} | {why} |"


def _sections(schema: Mapping[str, Any]) -> Iterator[str]:
    """A table for the top level and one for every section."""
    parts = schema.get("$defs", {})
    yield _table("Top level", schema["properties"], parts)
    for key, field in schema["properties"].items():
        name = _reference(field)
        if name in parts:
            yield _table(f"`{key}`", parts[name].get("properties", {}), parts, parts[name].get("description", ""))


def _table(title: str, fields: Mapping[str, Any], parts: Mapping[str, Any], intro: str = "") -> str:
    rows = ["| key | default | allowed | what it does |", "|---|---|---|---|"]
    for key, field in fields.items():
        default = (
            "" if isinstance(field.get("default"), dict) else f"`{field['default']}`" if "default" in field else ""
        )
        rows.append(f"| `{key}` | {default} | {_allowed(field, parts)} | {_cell(field.get('description', ''))} |")
    return "\n".join([f"## {title}", "", _cell(intro), "", *rows, ""])


def _allowed(field: Mapping[str, Any], parts: Mapping[str, Any]) -> str:
    if _reference(field) in parts:
        return "a section"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if "const" in field:
        return f"`{field['const']}`"
    if "anyOf" in field:
        return " or ".join(dict.fromkeys(_allowed(option, parts) for option in field["anyOf"]))
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    limits = [f"{sign} {field[key]}" for key, sign in signs.items() if key in field]
    if field.get("type") == "array":
        return f"list of {_allowed(field.get('items', {}), parts)}"
    return " ".join([str(field.get("type", "anything")), *limits])


def _reference(field: Mapping[str, Any]) -> str:
    path = field.get("$ref") or next((o.get("$ref") for o in field.get("allOf", [])), None) or ""
    return str(path).rpartition("/")[2]


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _functions() -> Iterator[str]:
    """Every public name: functions with signature and sections, then classes with their members."""
    from inspect import getdoc, isclass, isfunction, signature

    import n6convert

    public = {name: getattr(n6convert, name) for name in n6convert.__all__ if not name.startswith("_")}
    for name, value in sorted(public.items(), key=lambda pair: isclass(pair[1])):
        if isfunction(value):
            call = f"```python\n{_signed(name, signature(value))}\n```"
            yield f"## {name}\n\n{call}\n\n{_sectioned(getdoc(value) or '')}\n"
        else:
            members = (f"* `{key}`: {_cell((getdoc(m) or '').split(chr(10) * 2)[0])}" for key, m in _members(value))
            yield f"## {name}\n\n{_sectioned(getdoc(value) or '')}\n\n" + "\n".join(members) + "\n"


def _signed(name: str, signature: Any) -> str:
    """A signature, one parameter a line."""
    parameters = [str(p).replace("'", "") for p in signature.parameters.values()]
    kinds = [p.kind for p in signature.parameters.values()]
    first = next((i for i, kind in enumerate(kinds) if kind is kind.KEYWORD_ONLY), None)
    if first is not None and kinds[first].VAR_POSITIONAL not in kinds:
        parameters.insert(first, "*")
    lines = "".join(f"\n    {p}," for p in parameters)
    return f"{name}({lines}\n) -> {str(signature.return_annotation).strip(chr(39))}"


def _members(value: type) -> Iterator[tuple[str, Any]]:
    """What a class of ours offers: its own public methods and properties that have a docstring."""
    return ((k, m) for k, m in vars(value).items() if not k.startswith("_") and getattr(m, "__doc__", None))


def _sectioned(text: str) -> str:
    """A docstring's sections as headings and lists."""
    lines, inside = [], False
    for line in text.splitlines():
        entry = re.match(r"    (\*{0,2}[\w, ]+): (.*)", line)
        if line in ("Args:", "Returns:", "Raises:", "Attributes:"):
            inside = True
            lines += ["", f"**{line[:-1]}**", ""]
        elif inside and entry:
            lines.append(f"* `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line if not inside else f"  {line.strip()}" if line.strip() else "")
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", "\n".join(lines)).replace("``", "`")


def _commands() -> Iterator[str]:
    """Every command with its arguments, options and examples."""
    from n6convert.cli.registry import GROUPS, real_command

    for group, commands in GROUPS.items():
        yield f"## {group}\n"
        for name, sentence in commands.items():
            command = real_command(name)
            yield f"### {name}\n\n{sentence}\n\n| | |\n|---|---|"
            for parameter in command.params:
                words = ", ".join(f"`{word}`" for word in parameter.opts if word != "--help")
                if words and not getattr(parameter, "hidden", False):
                    yield f"| {words} | {(getattr(parameter, 'help', None) or '').replace('|', chr(92) + '|')} |"
            lines = [line.strip() for line in (command.epilog or "").splitlines()[1:] if line.strip()]
            yield "\n" + "\n".join(f"    {line}" for line in lines) + "\n"
