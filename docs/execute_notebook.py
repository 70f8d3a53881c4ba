"""Runs a script of cells (``# %%``) and writes it as a notebook with its outputs.

    python docs/execute_notebook.py docs/first_steps.py docs/first-steps.ipynb

Without Jupyter: an expression at the end of a cell is shown as a notebook shows it, by ``_repr_html_`` and ``repr``.
The cells run in an empty folder; a cell that raises ends the command.
"""

from __future__ import annotations

import ast
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["cells_of", "execute", "markdown_of"]

_MARK = re.compile(r"^# %%( \[markdown\])?$", re.MULTILINE)


def cells_of(script: str) -> Iterator[tuple[str, str]]:
    """Kind (``markdown`` or ``code``) and source of every cell."""
    parts = _MARK.split(script)[1:]
    for kind, source in zip(parts[::2], parts[1::2], strict=True):
        if kind:
            lines = (line.removeprefix("#").removeprefix(" ") for line in source.strip().splitlines())
            yield "markdown", "\n".join(lines)
        else:
            yield "code", source.strip()


def execute(script: str) -> dict[str, Any]:
    """The notebook (nbformat 4.5) of a script, its cells executed in order in an empty folder."""
    names: dict[str, Any] = {"__name__": "__main__"}
    cells, before = [], Path.cwd()
    with TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            for index, (kind, source) in enumerate(cells_of(script)):
                cells.append(_cell(index, kind, source, names))
        finally:
            os.chdir(before)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def _cell(index: int, kind: str, source: str, names: dict[str, Any]) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{index}", "metadata": {}, "source": source}
    if kind == "markdown":
        return cell
    printed = io.StringIO()
    with redirect_stdout(printed):
        value = _run(source, names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue()})
    if value is not None:
        data = {"text/plain": repr(value)}
        if hasattr(value, "_repr_html_"):
            data["text/html"] = value._repr_html_()
        outputs.append({"output_type": "execute_result", "execution_count": index, "metadata": {}, "data": data})
    return cell | {"execution_count": index, "outputs": outputs}


def _run(source: str, names: dict[str, Any]) -> Any:
    """Run a cell; the value of an expression at its end."""
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last is not None else None


def markdown_of(notebook: dict[str, Any]) -> str:
    """The notebook as a page: code, what it printed, and what a cell shows."""
    parts = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            parts.append(cell["source"])
            continue
        parts.append(f"```python\n{cell['source']}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "text/html" in data:
                parts.append(data["text/html"].replace("\n", "&#10;"))  # one line: a blank one would end the block
            else:
                parts.append(f"```text\n{(output.get('text') or data['text/plain']).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    _script, _notebook = map(Path, sys.argv[1:3])
    _text = json.dumps(execute(_script.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
    _notebook.write_text(f"{_text}\n", encoding="utf-8")
