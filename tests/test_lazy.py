"""Modules that are loaded only when something asks them for a name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from n6convert.lazy import postpone

_SHAPES = """
import n6convert
import sys
import onnx_ir as ir
ir.Shape(["N", None, 3])
assert "sympy.core" not in sys.modules
assert str(ir.SymbolicDim("N") + ir.SymbolicDim("N")) == "2*N"
import sympy
from sympy.core import Symbol
assert sympy.Symbol is Symbol
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    folder = tmp_path / "postponed_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from postponed_package.inner import ANSWER\n")
    (folder / "inner.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [n for n in sys.modules if n.startswith("postponed_package")]:
        del sys.modules[name]


@pytest.mark.usefixtures("package")
def test_an_import_alone_does_not_run_a_postponed_module() -> None:
    postpone("postponed_package")
    module = import_module("postponed_package")
    assert "postponed_package.inner" not in sys.modules
    assert module.ANSWER == 42
    assert "postponed_package.inner" in sys.modules
    with pytest.raises(AttributeError, match="nothing"):
        module.nothing  # noqa: B018


@pytest.mark.usefixtures("package")
def test_a_submodule_runs_its_postponed_package_first() -> None:
    postpone("postponed_package")
    assert import_module("postponed_package.inner").ANSWER == 42
    assert vars(sys.modules["postponed_package"])["ANSWER"] == 42


def test_a_module_that_is_loaded_or_missing_stays_as_it_is(package: Path) -> None:
    loaded = import_module("postponed_package")
    postpone("postponed_package")
    postpone("postponed_package.inner")
    postpone("postponed_package_that_nobody_has")
    assert sys.modules["postponed_package"] is loaded
    assert "postponed_package_that_nobody_has" not in sys.modules


def test_a_postponed_module_that_fails_is_tried_again(package: Path) -> None:
    (package / "__init__.py").write_text("raise ImportError('not today')\n")
    postpone("postponed_package")
    module = import_module("postponed_package")
    with pytest.raises(ImportError, match="not today"):
        module.ANSWER  # noqa: B018
    assert "postponed_package" not in sys.modules


def test_graphs_with_named_dimensions_load_no_symbolic_algebra_until_they_compute() -> None:
    subprocess.run([sys.executable, "-c", _SHAPES], check=True)
