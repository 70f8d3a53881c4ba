"""Wheels: small, complete, and working together from files in a clean environment."""

from __future__ import annotations

import email
import json
import os
import runpy
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
_MOST_BYTES = 5 << 18


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The core's wheel and every plugin's, by the distribution's file name."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, *sorted(p.parent for p in ROOT.glob("plugins/*/pyproject.toml"))):
        command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(project)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return {path.name.partition("-")[0]: path for path in folder.glob("*.whl")}


def test_every_wheel_is_small_and_typed(wheels):
    assert {"n6convert", "n6convert_yolov8"} <= wheels.keys()
    for path in wheels.values():
        assert path.stat().st_size < _MOST_BYTES, path.name
        assert any(name.endswith("py.typed") for name in zipfile.ZipFile(path).namelist()), path.name


def test_the_core_ships_recipes_schemas_and_templates(wheels):
    names = set(zipfile.ZipFile(wheels["n6convert"]).namelist())
    recipes = {f"n6convert/recipes/{path.name}" for path in (ROOT / "recipes").iterdir()}
    assert recipes <= names
    package = ROOT / "n6convert"
    data = {
        f"n6convert/{p.relative_to(package).as_posix()}"
        for p in package.rglob("*.*")
        if p.suffix in (".j2", ".css", ".js", ".txt", ".json", ".yaml")
    }
    assert data <= names


def test_every_wheel_says_what_it_is(wheels):
    license_text = (ROOT / "LICENSE").read_bytes()
    versions = set()
    for path in wheels.values():
        archive = zipfile.ZipFile(path)
        (folder,) = {name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name}
        facts = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        assert archive.read(f"{folder}/licenses/LICENSE") == license_text, path.name
        assert facts["Author"] and facts["Keywords"] and facts["License-Expression"] == "Apache-2.0"
        assert len(facts.get_all("Classifier")) > 5 and len(str(facts.get_payload())) > 200, path.name
        versions.add(facts["Version"])
        needs = [
            need for need in facts.get_all("Requires-Dist") if need.startswith("n6convert") and "extra" not in need
        ]
        assert all(">=" in need for need in needs) and (needs or path.name.startswith("n6convert-"))
    assert len(versions) == 1 and Version(*versions).release >= (0, 1, 1)


def test_a_version_comes_from_the_history(tmp_path, monkeypatch):
    build = runpy.run_path(str(ROOT / "build_version.py"))
    said = {"rev-parse": "0e188bf12", "rev-list": "452"}
    git = lambda command, *_: said.get(command if command != "describe" else f"describe {_[1]}", "")  # noqa: E731
    version = build["version"]
    monkeypatch.setitem(version.__globals__, "_git", git)
    assert version() == f"{build['NEXT']}.dev452+g0e188bf12" and Version(version()).is_prerelease
    said["describe --exact-match"] = "v0.1.1"
    assert version() == "0.1.1"
    said["status"] = " M changed.py"
    assert "dev" in version(), "a changed file is no release"
    said.clear()
    assert version() == f"{build['NEXT']}.dev0"


def test_core_and_plugin_install_from_files_and_convert(wheels, tmp_path):
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*pip, str(wheels["n6convert"]), str(wheels["n6convert_yolov8"])], check=True)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("N6")}
    environment |= {"PYTHONPATH": str(site), "N6CONVERT_CACHE": str(tmp_path / "cache")}
    command = [
        sys.executable,
        "-m",
        "n6convert",
        "yolov8n",
        "--weights",
        "seeded",
        "--imgsz",
        "64",
        "--samples",
        "8",
        "--json",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "accepted"
    place = subprocess.run(
        [sys.executable, "-c", "import n6convert; print(n6convert.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(site) in place.stdout, "the installed wheel was not the one that ran"
