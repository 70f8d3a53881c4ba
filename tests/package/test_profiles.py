"""Memory descriptions and profiles that we write for ST's compiler, read back by what reads ST's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from n6convert.npu.st.mpool import MemoryPool, read_mpool, read_profiles
from n6convert.npu.targets import Target, load_target
from n6convert.npu.targets.data import board_names
from n6convert.package.profiles import mpool_text, profile_text


def _read(folder: Path, pools: tuple[MemoryPool, ...]) -> tuple[MemoryPool, ...]:
    path = folder / "a.mpool"
    path.write_text(mpool_text(pools))
    return read_mpool(path)


@pytest.mark.parametrize("board", board_names())
def test_pools_of_every_board_are_read_back(board: str, tmp_path: Path) -> None:
    pools = load_target(board).pools
    assert _read(tmp_path, pools) == tuple(replace(pool, power=0.0) for pool in pools if pool.size)


def test_pools_without_bytes_are_left_out(tmp_path: Path) -> None:
    used = MemoryPool("npuRAM5", 0x1000, 16, 8, 1.25, True, False)
    assert _read(tmp_path, (replace(used, name="empty", size=0), used)) == (used,)


@pytest.mark.parametrize("pool", ["npuRAM3", "cpuRAM2", "hyperRAM", "octoFlash", "myRAM"])
def test_files_and_caches_by_the_kind_of_memory(pool: str) -> None:
    """[#memory-pools]: what lies behind the NPU's cache is external; names of files are those of ST's linker parts."""
    text = json.loads(mpool_text([MemoryPool(pool, 0, 16, 8, 1.25, True, False)]))
    (entry,) = text["memory"]["mempools"]
    parts = {"npuRAM3": "AXISRAM3", "cpuRAM2": "AXISRAM2", "hyperRAM": "xSPI1", "octoFlash": "xSPI2", "myRAM": "myRAM"}
    assert entry["fname"] == parts[pool]
    assert ("cacheable" in entry["prop"]) is (pool in ("hyperRAM", "octoFlash"))
    cache = text["memory"]["cacheinfo"][0]
    assert cache["nlines"] * cache["linesize"] * cache["associativity"] == 256 * 1024


def _profiles(folder: Path, target: Target) -> dict[str, tuple[str, ...]]:
    path = folder / "user_neuralart.json"
    path.write_text(profile_text(target, "board.mpool"))
    found = read_profiles(path)
    assert {profile.memory_pool for profile in found.values()} == {"./board.mpool"}
    return {name: profile.options for name, profile in found.items()}


@pytest.mark.parametrize("version", ["2.1", "3.0", "4.0"])
def test_the_controller_is_an_option(version: str, tmp_path: Path) -> None:
    target = load_target(f"stm32n6570-dk@{version}")
    (on,) = _profiles(tmp_path, target.with_epoch_controller(True)).values()
    (off,) = _profiles(tmp_path, target.with_epoch_controller(False)).values()
    assert set(on) - set(off) == {"--enable-epoch-controller"} and set(off) <= set(on)


def test_switches_of_the_target_are_passed(tmp_path: Path) -> None:
    (plain,) = _profiles(tmp_path, load_target("stm32n6570-dk@4.0")).values()
    (switched,) = _profiles(tmp_path, load_target("stm32n6570-dk@4.0+expand-softmax")).values()
    assert switched == (*plain, "--expand-softmax")


@pytest.mark.parametrize("board", board_names())
def test_applications_have_a_profile_of_their_own(board: str, tmp_path: Path) -> None:
    found = _profiles(tmp_path, load_target(board))
    assert ("default" in found) is board.endswith("-app") and len(found) == 1 + board.endswith("-app")
