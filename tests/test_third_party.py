"""Somebody else's wheel: built, installed from the file, listed, converted by name and by its own recipe, checked."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "thirdparty"


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *arguments]
    return subprocess.run(words, env=os.environ | environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder on the path with the example installed from its wheel, without any network."""
    folder = tmp_path_factory.mktemp("thirdparty")
    shutil.copytree(EXAMPLE, folder / "source")
    offline = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    built = python("-m", "pip", "wheel", *offline, "--no-build-isolation", "-w", str(folder), str(folder / "source"))
    assert built.returncode == 0, built.stderr
    wheel = next(folder.glob("*.whl"))
    done = python("-m", "pip", "install", *offline, "--target", str(folder / "site"), str(wheel))
    assert done.returncode == 0, done.stderr
    return folder / "site"


@pytest.fixture
def n6convert(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        done = python("-m", "n6convert", *arguments, PYTHONPATH=str(installed))
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_it_is_listed_with_its_distribution(n6convert: Callable[..., str]) -> None:
    entries = {entry["name"]: entry for entry in json.loads(n6convert("models", "--json"))}
    assert entries["edges"]["distribution"] == "n6-edges" and entries["edges"]["state"] == "ready"


def test_its_model_converts(n6convert: Callable[..., str], tmp_path: Path) -> None:
    report = json.loads(n6convert("edges", "--weights", "seeded", "--samples", "4", "--json"))
    assert report["placement"]["after"]["epochs"]["sw"] == 0
    manifest = json.loads((tmp_path / "build" / "edges-untrained" / "manifest.json").read_text())
    assert manifest["packages"]["n6-edges"] == "1.0" and manifest["plugin"]["distribution"] == "n6-edges"


def test_its_recipe_is_found_by_name(n6convert: Callable[..., str]) -> None:
    assert "imgsz: 128" in n6convert("recipe", "edges-128")


def test_it_keeps_the_contract(installed: Path, tmp_path: Path) -> None:
    code = "from n6convert.testing import check_plugin; print(len(check_plugin('edges', options={'imgsz': 32})))"
    done = python("-c", code, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 6


def test_the_guide_shows_the_example_as_it_is() -> None:
    guide = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = {block.strip() for block in re.findall(r"```(?:python|toml)\n(.*?)```", guide, re.DOTALL)}
    assert (EXAMPLE / "n6_edges" / "__init__.py").read_text(encoding="utf-8").strip() in shown
    assert (EXAMPLE / "pyproject.toml").read_text(encoding="utf-8").strip() in shown
