"""Memory pool descriptions and profiles: what a file says against what is read, and every field that may be wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.errors import SourceError
from n6convert.npu.st.mpool import MemoryPool, read_mpool, read_profiles

FAST: dict[str, Any] = {
    "name": "npuRAM5",
    "offset": {"value": "0x342e0000", "magnitude": "BYTES"},
    "size": {"value": "448", "magnitude": "KBYTES"},
    "prop": {"rights": "ACC_WRITE", "byteWidth": 8, "freqRatio": 1.25, "readPower": 18.531},
}
FLASH: dict[str, Any] = {
    "name": "octoFlash",
    "offset": {"value": "0x70000000", "magnitude": "BYTES"},
    "size": {"value": "64", "magnitude": "MBYTES"},
    "prop": {"rights": "ACC_READ", "byteWidth": 1, "freqRatio": 6, "constantsPreferred": "true"},
}


def _write(folder: Path, *entries: dict[str, Any]) -> Path:
    path = folder / "board.mpool"
    path.write_text(json.dumps({"memory": {"mempools": entries}}))
    return path


def test_pools_as_the_file_has_them(tmp_path: Path) -> None:
    fast, flash = read_mpool(_write(tmp_path, FAST, FLASH))
    assert fast == MemoryPool("npuRAM5", 0x342E0000, 458_752, 8.0, 1.25, True, False, 18.531)
    assert (fast.end, fast.cycles_per_byte, fast.external) == (0x34350000, 0.15625, False)
    assert (flash.size, flash.writable, flash.constants, flash.power) == (67_108_864, False, True, 0.0)
    assert (flash.cycles_per_byte, flash.external) == (6.0, True)


@pytest.mark.parametrize(
    ("value", "magnitude", "size"),
    [("16", "BYTES", 16), (16, "KBYTES", 16_384), ("0x10", "MBYTES", 16_777_216), ("1", "GBYTES", 1_073_741_824)],
)
def test_magnitudes(value: object, magnitude: str, size: int, tmp_path: Path) -> None:
    entry = FAST | {"size": {"value": value, "magnitude": magnitude}}
    assert read_mpool(_write(tmp_path, entry))[0].size == size


@pytest.mark.parametrize(("spelling", "value"), [("constantsPreferred", True), ("constants_preferred", "TRUE")])
def test_both_spellings_of_a_pool_for_constants(spelling: str, value: object, tmp_path: Path) -> None:
    entry = FAST | {"prop": FAST["prop"] | {spelling: value}}
    assert read_mpool(_write(tmp_path, entry))[0].constants
    assert not read_mpool(_write(tmp_path, FAST))[0].constants


@pytest.mark.parametrize(("ratio", "external"), [(8.0, False), (8.01, True)])
def test_slower_than_a_byte_a_cycle_is_outside(ratio: float, external: bool, tmp_path: Path) -> None:
    entry = FAST | {"prop": FAST["prop"] | {"freqRatio": ratio}}
    assert read_mpool(_write(tmp_path, entry))[0].external is external


@pytest.mark.parametrize(("offset", "kept"), [(0xFFFFFFF0, True), (0xFFFFFFF1, False)])
def test_pools_beyond_four_gigabytes_are_bookkeeping(offset: int, kept: bool, tmp_path: Path) -> None:
    entry = FAST | {
        "offset": {"value": offset, "magnitude": "BYTES"},
        "size": {"value": 16, "magnitude": "BYTES"},
    }
    names = [pool.name for pool in read_mpool(_write(tmp_path, FLASH, entry))]
    assert names == ["octoFlash", "npuRAM5"][: 1 + kept]


def _without(*path: str) -> dict[str, Any]:
    entry = copy.deepcopy(FAST)
    inner = entry
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return entry


_PATHS = [("name",), ("offset",), ("size", "value"), ("size", "magnitude"), ("prop",), ("prop", "rights"),
          ("prop", "byteWidth"), ("prop", "freqRatio")]  # fmt: skip


@pytest.mark.parametrize("path", _PATHS, ids=".".join)
def test_each_missing_field_is_named_with_its_pool(path: tuple[str, ...], tmp_path: Path) -> None:
    file = _write(tmp_path, FLASH, _without(*path))
    with pytest.raises(SourceError, match="lacks a field") as caught:
        read_mpool(file)
    assert caught.value.place == f"{file}, mempools[1]" and path[-1] in str(caught.value.found)


@pytest.mark.parametrize(
    "wrong",
    [
        FAST | {"size": {"value": "many", "magnitude": "BYTES"}},
        FAST | {"size": {"value": "1", "magnitude": "PBYTES"}},
        FAST | {"prop": FAST["prop"] | {"byteWidth": None}},
        FAST | {"prop": FAST["prop"] | {"rights": 3}},
        "npuRAM5",
    ],
)
def test_wrong_values_are_no_traceback(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="wrong value"):
        read_mpool(_write(tmp_path, wrong))


@pytest.mark.parametrize("key", ["byteWidth", "freqRatio"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_impossible_speeds(key: str, value: float, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="impossible size or speed"):
        read_mpool(_write(tmp_path, FAST | {"prop": FAST["prop"] | {key: value}}))


def test_a_negative_size(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="impossible size or speed"):
        read_mpool(_write(tmp_path, FAST | {"size": {"value": -1, "magnitude": "KBYTES"}}))


@pytest.mark.parametrize("content", ["[]", "{}", '{"memory": {}}', '{"memory": {"mempools": []}}', '{"memory": 3}'])
def test_other_json(content: str, tmp_path: Path) -> None:
    path = tmp_path / "a.mpool"
    path.write_text(content)
    with pytest.raises(SourceError) as caught:
        read_mpool(path)
    assert caught.value.place == path


@settings(max_examples=25)
@given(
    start=st.integers(0, 2**31), size=st.integers(0, 2**20), width=st.sampled_from([1, 2, 4, 8]),
    ratio=st.floats(0.5, 16, allow_nan=False),
)  # fmt: skip
def test_written_pools_are_read_back(
    start: int, size: int, width: int, ratio: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    entry = {
        "name": "p",
        "offset": {"value": hex(start), "magnitude": "BYTES"},
        "size": {"value": str(size), "magnitude": "BYTES"},
        "prop": {"rights": "ACC_WRITE", "byteWidth": width, "freqRatio": ratio},
    }
    (pool,) = read_mpool(_write(tmp_path_factory.mktemp("pools"), entry))
    assert (pool.start, pool.size, pool.end - pool.start) == (start, size, size)
    assert pool.cycles_per_byte * width == pytest.approx(ratio)


# profiles --------------------------------------------------------------------------------------------------------


def _profiles(folder: Path, text: str) -> Path:
    path = folder / "user_neuralart.json"
    path.write_text(text)
    return path


def test_options_are_split_where_one_begins(tmp_path: Path) -> None:
    """A dash inside an option is none; a value belongs to the option before it; comments may hold anything."""
    path = _profiles(tmp_path, """{
      "Globals": {},  // "Profiles": {}
      "Profiles": {
        "default": {"memory_pool": "./a//b.mpool", "options": "-O3 --all-buffers-info  --cache -Oauto-sched"},
        "bare": {"options": ""}, "empty": {}
      } }""")  # fmt: skip
    found = read_profiles(path)
    assert found["default"].options == ("-O3", "--all-buffers-info", "--cache", "-Oauto-sched")
    assert found["default"].memory_pool == "./a//b.mpool", "two slashes inside a string are no comment"
    assert found["bare"].options == found["empty"].options == ()
    assert found["empty"].memory_pool is None and set(found) == {"default", "bare", "empty"}


@pytest.mark.parametrize(
    ("text", "problem", "place"),
    [
        ("{}", "not a Neural-ART profile file", ""),
        ('{"Profiles": []}', "not a Neural-ART profile file", ""),
        ('{"Profiles": {"a": "-O3"}}', "a profile is not a table", ", a"),
    ],
)
def test_wrong_profiles(text: str, problem: str, place: str, tmp_path: Path) -> None:
    path = _profiles(tmp_path, text)
    with pytest.raises(SourceError, match=problem) as caught:
        read_profiles(path)
    assert str(caught.value.place) == f"{path}{place}"
