"""A new plugin works at once."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from n6convert.errors import OutputError, UsageError
from n6convert.scaffold.new_plugin import new_plugin


def test_the_new_distribution_installs_and_passes_its_own_test(tmp_path):
    folder = new_plugin("my-net", tmp_path)
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), str(folder)], check=True)
    environment = os.environ | {"PYTHONPATH": str(site), "N6CONVERT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder / "tests")],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("name", ["", "My Net", "8net", "../x", "a_b"])
def test_unusable_names_are_refused(name, tmp_path):
    with pytest.raises(UsageError, match="usable model name"):
        new_plugin(name, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_name_that_is_installed_is_refused(tmp_path):
    with pytest.raises(UsageError, match="installed already"):
        new_plugin("onnx", tmp_path)
    assert not any(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    first = new_plugin("net", tmp_path)
    (first / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="exists"):
        new_plugin("net", tmp_path)
    assert (first / "mine.txt").read_text() == "keep"


def test_an_unwritable_folder_leaves_nothing(tmp_path):
    place = tmp_path / "file"
    place.write_text("")
    with pytest.raises(OutputError):
        new_plugin("net", place)
