"""Shared fixtures: where the local test material lies, and a skip that says so when it is absent."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MATERIAL = {
    "data_dir": ("N6_DATA", ROOT.parent / "shared" / "data"),
    "neuralart_dir": ("N6_NEURALART", ROOT.parent / "shared" / "neuralart"),
}


def _folder(fixture: str) -> Path:
    variable, default = MATERIAL[fixture]
    return Path(os.environ.get(variable, default))


def _material(fixture: str) -> Path:
    folder = _folder(fixture)
    if not folder.is_dir():
        pytest.skip(f"local test material not found at {folder}; set {MATERIAL[fixture][0]}")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real weights, images and text (``N6_DATA``)."""
    return _material("data_dir")


@pytest.fixture(scope="session")
def neuralart_dir() -> Path:
    """Real compiler reports with their models (``N6_NEURALART``)."""
    return _material("neuralart_dir")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep tests away from the user's cache; child processes inherit it."""
    os.environ["N6CONVERT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport]:
    """With ``N6_NO_SKIPS``, a test that needs material which is there may not be skipped."""
    report = yield
    needed = [f for f in MATERIAL if f in getattr(item, "fixturenames", ()) and _folder(f).is_dir()]
    if report.skipped and needed and os.environ.get("N6_NO_SKIPS") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, though its material is there: {report.longrepr}"
    return report
