"""The executed notebook: what makes it, and that the one in the repository is of its script."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
SCRIPT = """# %% [markdown]
# # Title
#
# Words.

# %%
class Shown:
    def _repr_html_(self):
        return "<p>\\n\\nhtml</p>"

    def __repr__(self):
        return "Shown()"

print("out")
Shown()

# %%
x = 3
"""


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(DOCS / "execute_notebook.py"))


@pytest.fixture(scope="module")
def notebook() -> dict[str, Any]:
    return dict(json.loads((DOCS / "first-steps.ipynb").read_text(encoding="utf-8")))


def test_cells_are_run_in_order_and_shown_as_a_notebook_shows_them(tool: dict[str, Any]) -> None:
    before = Path.cwd()
    made = tool["execute"](SCRIPT)
    words, shown, silent = made["cells"]
    assert words["source"] == "# Title\n\nWords." and "outputs" not in words
    assert [output["output_type"] for output in shown["outputs"]] == ["stream", "execute_result"]
    assert shown["outputs"][1]["data"] == {"text/plain": "Shown()", "text/html": "<p>\n\nhtml</p>"}
    assert silent["outputs"] == [] and Path.cwd() == before
    page = tool["markdown_of"](made)
    assert "```text\nout\n```" in page and "<p>&#10;&#10;html</p>" in page
    with pytest.raises(ZeroDivisionError):
        tool["execute"]("# %%\n1 / 0\n")


def test_the_notebook_is_of_its_script(tool: dict[str, Any], notebook: dict[str, Any]) -> None:
    script = (DOCS / "first_steps.py").read_text(encoding="utf-8")
    assert [(c["cell_type"], c["source"]) for c in notebook["cells"]] == list(tool["cells_of"](script))


def test_every_cell_was_executed_and_shows_something_short(notebook: dict[str, Any]) -> None:
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert notebook["nbformat"] == 4 and all(cell["execution_count"] and cell["outputs"] for cell in code)
    shown = [output["data"] for cell in code for output in cell["outputs"] if "data" in output]
    assert all(len(data["text/plain"]) < 400 for data in shown)
    assert sum("text/html" in data and data["text/html"].startswith("<iframe") for data in shown) == 3
    text = json.dumps(notebook)
    assert "/tmp" not in text and len(text) < 400_000, "no folder of the machine that ran it"
