"""Frameworks in child processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.errors import ToolError
from n6convert.importers.child import Child, require, run_module


def test_a_child_sees_arguments_environment_and_folder(tmp_path: Path) -> None:
    (tmp_path / "shows.py").write_text("import os, sys; print(sys.argv[1], os.environ['WORD'], os.getcwd())")
    child = run_module("shows", ["a b"], place=tmp_path, environment={"WORD": "word"}, folder=tmp_path)
    assert (child.code, child.text.split()) == (0, ["a", "b", "word", str(tmp_path)])


def test_the_last_line_is_the_message(tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text("print('so far'); raise ValueError('no good')")
    child = run_module("fails", [], place=tmp_path, folder=tmp_path)
    assert (child.code, child.last) == (1, "ValueError: no good")
    assert Child(-9, "\n").last == "exit code -9"


def test_out_of_time_names_the_limit(tmp_path: Path) -> None:
    (tmp_path / "sleeps.py").write_text("import time; time.sleep(60)")
    with pytest.raises(ToolError, match="ran out of time") as caught:
        run_module("sleeps", [], place=tmp_path, time_limit=0.2, folder=tmp_path)
    assert caught.value.limit == "0.2 s"


def test_missing_packages_are_named_together() -> None:
    with pytest.raises(ToolError, match="export needs more packages") as caught:
        require(["json", "no_such.inner", "nor_this"], "the export", "pip install it")
    assert caught.value.found == "no no_such.inner, nor_this"
