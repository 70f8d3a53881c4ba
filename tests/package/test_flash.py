"""Places in the external flash: whole erase blocks, no overlap, the same addresses in C."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import OutputError
from n6convert.npu.st.mpool import MemoryPool
from n6convert.package.flash import ERASE_BLOCK, blocks, flash_header, flash_pool, place_tables

KB = 1024
FLASH = MemoryPool("octoFlash", 0x71000000, 16 * ERASE_BLOCK, 1, 6, False, True)


@pytest.mark.parametrize(("size", "count"), [(0, 0), (1, 1), (64 * KB, 1), (64 * KB + 1, 2), (640 * KB, 10)])
def test_whole_blocks(size: int, count: int) -> None:
    assert blocks(size) == count * 64 * KB


_TABLES = st.dictionaries(
    st.from_regex(r"[a-z]{1,6}\.bin", fullmatch=True), st.integers(1, 3 * ERASE_BLOCK), max_size=4
)


@settings(max_examples=60)
@given(tables=_TABLES, extra=st.integers(0, ERASE_BLOCK - 1))
def test_tables_share_no_block_with_each_other_or_with_what_lies_behind(tables: dict[str, int], extra: int) -> None:
    """Also where the pool does not end on a block."""
    pool = MemoryPool("f", FLASH.start, FLASH.size + extra, 1, 6, False, True)
    parts = place_tables(pool, tables)
    assert {part.name: part.size for part in parts} == tables
    assert [part.name for part in parts] == sorted(tables)
    taken: set[int] = set()
    for part in parts:
        own = set(range(part.start // ERASE_BLOCK, -(-(part.start + part.size) // ERASE_BLOCK)))
        assert part.start % ERASE_BLOCK == 0 and not own & taken
        taken |= own
        assert part.start + part.size <= pool.end // ERASE_BLOCK * ERASE_BLOCK


@pytest.mark.parametrize(("size", "fits"), [(16 * ERASE_BLOCK, True), (16 * ERASE_BLOCK + 1, False)])
def test_the_largest_table(size: int, fits: bool) -> None:
    if fits:
        assert place_tables(FLASH, {"a": size})[0].start == FLASH.start
        return
    with pytest.raises(OutputError, match="do not fit the flash") as caught:
        place_tables(FLASH, {"a": size})
    error = caught.value
    assert (error.place, error.limit, error.found) == ("octoFlash", "1,048,576 bytes", "1,048,577 bytes")


def test_two_tables_that_fit_only_in_part_of_a_block() -> None:
    with pytest.raises(OutputError):
        place_tables(FLASH, {"a": 8 * ERASE_BLOCK + 1, "b": 8 * ERASE_BLOCK - 1})


def test_the_pool_for_constants_that_is_not_written() -> None:
    ram = MemoryPool("hyperRAM", 0, 16, 2, 5, True, True)
    rom = MemoryPool("rom", 0, 16, 1, 6, False, False)
    assert flash_pool([ram, rom, FLASH]) is FLASH and flash_pool([ram, rom]) is None


def test_the_header_names_the_same_addresses(tmp_path: Path) -> None:
    tables = {"word table.bin": 70_000, "2nd.bin": 5}
    text = flash_header("net", FLASH, tables)
    found = {name: int(value, 16) for name, value in re.findall(r"#define (\w+) \((0x\w+)u\)", text)}
    first, second = place_tables(FLASH, tables)
    assert found["NET_FLASH_WEIGHTS"] == FLASH.start
    assert sorted(value for name, value in found.items() if name != "NET_FLASH_WEIGHTS") == sorted(
        [first.start, second.start]
    )
    assert all(re.fullmatch(r"[A-Z_][A-Z0-9_]*", name) for name in found)
    assert "70,000 bytes" in text
