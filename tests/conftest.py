"""Shared fixtures: where the local test material lies, and a skip that says so when it is absent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def _material(variable: str, default: Path) -> Path:
    folder = Path(os.environ.get(variable, default))
    if not folder.is_dir():
        pytest.skip(f"local test material not found at {folder}; set {variable}")
    return folder


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real weights, images and text (``N6_DATA``)."""
    return _material("N6_DATA", ROOT.parent / "shared" / "data")


@pytest.fixture(scope="session")
def neuralart_dir() -> Path:
    """Real compiler reports with their models (``N6_NEURALART``)."""
    return _material("N6_NEURALART", ROOT.parent / "shared" / "neuralart")
