"""Memory on the page: live bytes by counting, and what is said where activations leave the chip."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.report.memory_view import MemoryView, _live, memory_section
from n6convert.results.sections import Memory, MemoryBuffer

_LIVES = st.tuples(st.integers(-1, 12), st.integers(0, 12), st.integers(0, 500), st.sampled_from(["a", "b"]))


@settings(max_examples=60)
@given(lives=st.lists(_LIVES, max_size=10))
def test_live_bytes_are_those_of_the_buffers_alive(lives: list[tuple[int, int, int, str]]) -> None:
    buffers = [
        MemoryBuffer(name=str(i), bytes=size, first=first, last=last, pool=pool)
        for i, (first, last, size, pool) in enumerate(lives)
    ]
    for pool in "ab":
        wanted = [
            sum(b.bytes for b in buffers if b.pool == pool and b.first <= epoch <= b.last)
            for epoch in range(max((b.last for b in buffers), default=-1) + 1)
        ]
        assert _live(buffers, pool) == wanted


def _memory(**change: Any) -> Memory:
    pools = [
        {"name": "npuRAM5", "size": 1024 * 100, "used": 1024 * 60, "weights": 0, "activations": 1024 * 60},
        {"name": "octoFlash", "size": 1024 * 1000, "used": 1024 * 20, "weights": 1024 * 20, "activations": 0},
    ]
    buffers = [
        {"name": "x" * 60, "bytes": 40_960, "first": 1, "last": 3, "pool": "npuRAM5"},
        {"name": "small", "bytes": 20_480, "first": 2, "last": 2, "pool": "npuRAM5"},
        {"name": "later", "bytes": 10_240, "first": 4, "last": 5, "pool": "npuRAM5"},
    ]
    values = {
        "pools": pools, "weights": 1024 * 20, "activations": 1024 * 60, "fits": True, "missing": 0, "external": 0,
        "peak": 61_440, "peak_epoch": 2, "buffers": buffers,
    }  # fmt: skip
    return Memory.model_validate(values | change)


def _shown(memory: Memory) -> MemoryView:
    found = memory_section(memory)
    assert found is not None
    return found


def test_the_peak_names_what_is_alive_there_the_largest_first() -> None:
    text = _shown(_memory()).peak
    assert text.startswith("The peak of 60 KiB is at epoch 2; alive there: …x")
    assert text.index("x (40 KiB)") < text.index("small (20 KiB)") and "later" not in text
    assert _shown(_memory(peak_epoch=None)).peak == ""


def test_tables_are_counted_in_the_flash_alone() -> None:
    found = _shown(_memory(tables=1024 * 30))
    assert "60 KiB of 100 KiB" in found.pools and "50 KiB of 1,000 KiB" in found.pools
    assert "30 KiB of tables" in found.summary


def test_only_pools_with_activations_are_drawn_over_time() -> None:
    assert _shown(_memory()).legend == [("npuRAM5", "p0")]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "the activations fit on the chip."),
        ({"fits": False, "missing": 5120}, "does not fit: 5 KiB find no place."),
        ({"external": 3072}, "3 KiB of activations leave the chip for external RAM"),
    ],
)  # fmt: skip
def test_the_verdict(change: dict[str, Any], words: str) -> None:
    assert words in _shown(_memory(**change)).summary


def test_a_report_without_memory_has_no_section() -> None:
    assert memory_section(None) is None
