"""Damaged inputs, drawn by seed: a short run of ``benchmarks/fuzz_inputs.py``, one command an input."""

from __future__ import annotations

from pathlib import Path

import pytest
from fuzz import KINDS
from fuzz_inputs import _judged, try_input

#: seeds on which something went wrong once
KNOWN = [263, 1000177, 2000050, 2000128, 2000191, 3000127, 4000058]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))


#: graphs go wrong in most ways; the other kinds have tests of their own beside what they damage
INPUTS = [("onnx", seed) for seed in (*KNOWN, *range(60))]
INPUTS += [(kind, seed) for kind in sorted(set(KINDS) - {"onnx"}) for seed in range(4)]


@pytest.mark.parametrize(("kind", "seed"), INPUTS)
def test_damaged_inputs_end_in_one_message(kind: str, seed: int, tmp_path: Path) -> None:
    folder = tmp_path / "input"
    folder.mkdir()
    assert try_input(kind, seed, folder, skip=4 if seed < 1000 else 1) == []


def test_what_counts_as_wrong() -> None:
    assert _judged(1, "error: the graph has a cycle\n  where: node a\n") is None
    assert _judged(0, "") is None
    assert "unexpected" in (_judged(1, "error: unexpected KeyError: 'x'\n") or "")
    assert "prints" in (_judged(0, "Shape inference failed\n") or "")
    assert "no message" in (_judged(1, "Killed\n") or "")
    assert _judged(70, "") == "exit code 70"
