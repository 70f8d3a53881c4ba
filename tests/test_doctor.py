"""What the doctor says of an installation: each thing with its remedy, and what is needed apart from what is not."""

from __future__ import annotations

import os
import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from n6convert import doctor
from n6convert.doctor import Check, examine, probe
from n6convert.errors import RecipeError
from n6convert.registry import ModelEntry


def entry(**more: Any) -> ModelEntry:
    return ModelEntry("toy", "n6-toy", "1.0", "n6_toy:Toy", **more)


@pytest.mark.parametrize(("found", "cause", "remedy"), [
    (entry(), "", ""), (entry(), "ImportError: no x", "pip install --force-reinstall n6-toy"),
    (entry(state="broken", cause="missing numpy"), "missing numpy", "pip install --upgrade n6-toy"),
    (entry(state="duplicate", cause="twice"), "twice", "pip uninstall n6-toy"),
])  # fmt: skip
def test_a_models_trouble_has_a_command(found: ModelEntry, cause: str, remedy: str) -> None:
    check = doctor._model(found, cause)
    assert check.what == "model toy" and check.fine == (not cause) and check.needed and check.remedy.startswith(remedy)
    assert bool(check.remedy) == bool(cause) and "n6-toy 1.0" in check.found and cause in check.found


def test_plugins_are_loaded_once_each_however_many_names_they_have(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [entry(), ModelEntry("toy-2", "n6-toy", "1.0", "n6_toy:Toy"), entry(state="broken", cause="missing x")]
    asked: list[str] = []
    monkeypatch.setattr(doctor, "list_models", lambda: entries)
    monkeypatch.setattr(doctor, "probe", lambda name: asked.append(name) or "it failed")  # type: ignore[func-returns-value]
    found = list(doctor._models())
    assert asked == ["toy"] and [c.fine for c in found] == [False] * 3
    assert [c.found.split(": ")[1] for c in found] == ["it failed", "it failed", "missing x"]


@pytest.mark.parametrize(("code", "stderr", "cause"), [
    (0, "warning: odd", ""), (1, "error: x\n  found: ImportError: no y\n  remedy: z", "ImportError: no y"),
    (1, "Traceback\nValueError: v\n\n", "ValueError: v"), (-11, "", "the process died with -11"),
    (1, "  \n ", "the process died with 1"),
])  # fmt: skip
def test_the_cause_of_a_plugin_that_does_not_load(
    code: int, stderr: str, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: SimpleNamespace(returncode=code, stderr=stderr))
    assert probe("toy") == cause


def test_a_plugin_that_loads_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*arguments: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired("python", options["timeout"])

    monkeypatch.setattr(subprocess, "run", late)
    assert probe("toy") == "loading takes more than 120 s"


@pytest.mark.parametrize(
    ("free", "writable", "fine"), [(3 << 30, True, True), (1 << 30, True, False), (3 << 30, False, False)]
)
def test_the_cache_needs_space(
    free: int, writable: bool, fine: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(doctor, "default_root", lambda: tmp_path / "not" / "there")
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=free))
    monkeypatch.setattr(os, "access", lambda folder, mode: writable and Path(folder) == tmp_path)
    (check,) = doctor._folders()
    assert check.fine == fine and bool(check.remedy) == (not fine) and f"{free / 2**30:.1f} GiB" in check.found
    assert fine or "N6CONVERT_CACHE" in check.remedy


def test_st_edge_ai_is_found_on_the_path_or_in_its_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.delenv("STEDGEAI_CORE_DIR", raising=False)
    missing = doctor._stedgeai()
    assert not missing.fine and not missing.needed and "STEDGEAI_CORE_DIR" in missing.remedy
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(tmp_path))
    assert not doctor._stedgeai().fine
    tool = tmp_path / "Utilities" / "linux" / "stedgeai"
    tool.parent.mkdir(parents=True)
    tool.touch(0o755)
    assert doctor._stedgeai() == Check("stedgeai", True, str(tool), "", needed=False)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/stedgeai")
    monkeypatch.delenv("STEDGEAI_CORE_DIR")
    assert doctor._stedgeai().found == "/bin/stedgeai"


def test_extras_and_families_are_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(doctor, "version", absent)
    monkeypatch.setattr(doctor, "list_models", list)
    found = [*doctor._extras(), *doctor._families()]
    assert found and not any(check.fine or check.needed for check in found)
    assert all(check.remedy.startswith("pip install ") for check in found)
    monkeypatch.setattr(doctor, "version", lambda name: "9.9")
    assert all(check.fine and "9.9" in check.found and not check.remedy for check in doctor._extras())


def test_a_damaged_project_file_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(model: str) -> None:
        raise RecipeError("no such key", place="n6convert.toml:3")

    monkeypatch.setattr(doctor, "read_project", damaged)
    assert doctor._project() == Check("project", False, "no such key", "correct n6convert.toml:3")


def test_missing_requirements_are_one_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "unmet_requirements", lambda dist: ["numpy>=9", "onnx"])
    python, core = doctor._core()
    assert (
        python.fine
        and not core.fine
        and core.remedy == "pip install 'numpy>=9' 'onnx'"
        and "missing numpy>=9, onnx" in core.found
    )


def test_everything_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "probe", lambda name: "")
    kinds = {check.what.split()[0] for check in examine()}
    assert {"Python", "n6convert", "project", "model", "extra", "stedgeai", "cache"} <= kinds
