"""Files that only others run: read as they will read them."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECTS = [ROOT / "pyproject.toml", *sorted(ROOT.glob("plugins/*/pyproject.toml"))]


def test_ci_runs_the_same_script_everywhere() -> None:
    job = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["run"]
    systems = {row["os"].split("-")[0] for row in job["strategy"]["matrix"]["include"]}
    assert systems == {"ubuntu", "macos", "windows"}
    assert any(row["os"].endswith("-arm") for row in job["strategy"]["matrix"]["include"])
    assert [step["run"] for step in job["steps"] if ".ci/run" in step.get("run", "")] == ["bash .ci/run"]
    assert job["steps"][0]["with"]["fetch-depth"] == 0, "without the history there is no version"


def test_a_release_needs_no_token() -> None:
    text = (ROOT / ".github/workflows/release.yml").read_text()
    assert yaml.safe_load(text)["jobs"]["publish"]["permissions"] == {"id-token": "write"} and "secrets." not in text
    assert "make dist" in text and re.search(r"^dist:", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.parametrize("path", sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml")), ids=lambda p: p.stem)
def test_issue_forms_have_what_a_form_needs(path: Path) -> None:
    form = yaml.safe_load(path.read_text())
    assert form["name"] and form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in form["body"])


def test_the_devcontainer_has_the_boards_compiler() -> None:
    facts = json.loads((ROOT / ".devcontainer/devcontainer.json").read_text())
    assert "gcc-arm-none-eabi" in (ROOT / ".devcontainer" / facts["build"]["dockerfile"]).read_text()
    target = facts["postCreateCommand"].removeprefix("make .venv/")
    assert f"$(VENV)/{target}:" in (ROOT / "Makefile").read_text()


def test_the_citation_is_of_the_next_or_this_release() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert f'NEXT = "{citation["version"]}"' in (ROOT / "build_version.py").read_text()
    assert citation["license"] == "Apache-2.0" and citation["authors"]


@pytest.mark.parametrize("path", PROJECTS, ids=lambda p: p.parent.name)
def test_every_distribution_carries_the_license_and_the_history(path: Path) -> None:
    facts = tomllib.loads(path.read_text())
    assert facts["project"]["dynamic"] == ["version"]
    assert (path.parent / facts["tool"]["hatch"]["version"]["path"]).resolve() == ROOT / "build_version.py"
    assert (path.parent / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_no_module_is_named_that_nothing_imports() -> None:
    needs = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert not any(need.startswith("onnxsim") for need in needs["dependencies"])
    assert "onnxsim" in needs["optional-dependencies"] and "onnxsim" in needs["optional-dependencies"]["all"][0]
