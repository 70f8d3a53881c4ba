"""Every command that the documentation shows works, in the order in which a reader types it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper, save

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = sorted(p.relative_to(DOCS) for p in DOCS.rglob("*.md") if "```console" in p.read_text())
_FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(data_dir: Path, tmp_path: Path) -> dict[str, str]:
    """What a reader has at hand: weights, images, a network; and an environment to type in."""
    shutil.copy(data_dir / "weights" / "yolov8n.pt", tmp_path / "yolov8n.pt")
    (tmp_path / "images").symlink_to(data_dir / "images" / "coco_det")
    save(small_network(), tmp_path / "network.onnx")
    site = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--system-site-packages", "--without-pip", str(site)], check=True)
    place_of = sysconfig.get_path("purelib")
    (next((site / "lib").glob("python*")) / "site-packages" / "base.pth").write_text(
        f"{place_of}\nimport site; site.addsitedir({place_of!r})\n"
    )
    for name in ("n6convert", "pip"):
        script = site / "bin" / name
        module = "n6convert" if name == "n6convert" else "pip"
        script.write_text(f'#!/bin/sh\nexec "{site}/bin/python" -m {module} "$@"\n')
        script.chmod(0o755)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    return environment | {"PATH": f"{site}/bin:{os.environ['PATH']}", "N6CONVERT_CACHE": str(tmp_path / "cache")}


def small_network():
    rng = np.random.default_rng(0)
    weights = numpy_helper.from_array(rng.normal(0, 0.2, (8, 3, 3, 3)).astype(np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "w"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["y"])],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 32, 32])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_commands_of(page: Path, reader: dict[str, str], tmp_path: Path) -> None:
    ran = 0
    for kind, body in _FENCE.findall((DOCS / page).read_text()):
        for command in commands(kind, body):
            done = subprocess.run(command, cwd=tmp_path, env=reader, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            ran += 1
    assert ran


def commands(kind: str, body: str) -> list[list[str]]:
    if kind == "python":
        return [["python", "-c", body]]
    return [["sh", "-c", line[2:]] for line in body.splitlines() if line.startswith("$ ")]


def test_the_site_builds_and_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=DOCS.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("WARNING")]
    assert not warnings
    for page in (tmp_path / "site").rglob("*.html"):
        loaded = re.findall(r'<(?:script|img|link)[^>]*(?:src|href)="(https?:[^"]*)"', page.read_text())
        assert [url for url in loaded if 'rel="canonical"' not in url] == [], page
    assert "Softmax" in (tmp_path / "site" / "operators.html").read_text()
    assert "calibration" in (tmp_path / "site" / "recipes.html").read_text()


def test_messages_of_the_troubleshooting_page_are_those_of_the_code() -> None:
    table = re.findall(r"^\| `([^`]+)` \|", (DOCS / "troubleshooting.md").read_text(), re.MULTILINE)
    source = "\n".join(p.read_text() for p in (DOCS.parent / "n6convert").rglob("*.py"))
    assert len(table) > 10
    assert [message for message in table if message not in source] == []


def test_every_variable_that_is_read_is_on_the_settings_page() -> None:
    sources = [p for folder in ("n6convert", "plugins") for p in (DOCS.parent / folder).rglob("*.py")]
    read = {name for p in sources for name in re.findall(r"\bN6CONVERT_[A-Z_]+\b", p.read_text())}
    table = set(re.findall(r"`(N6CONVERT_[A-Z_]+)`", (DOCS / "settings.md").read_text()))
    assert read == table and len(read) >= 5
