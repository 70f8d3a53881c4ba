"""ST's applications: their memory map, the project's own pools, names, and places in the flash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from n6convert import convert
from n6convert.cli import run
from n6convert.errors import OutputError
from n6convert.fitting.cascade import fit
from n6convert.npu.st.mpool import read_mpool, read_profiles
from n6convert.npu.targets import load_target
from n6convert.package.board_files import board_files
from n6convert.package.flash import ERASE_BLOCK, flash_header, flash_pool, place_tables
from n6convert.package.profiles import mpool_text, profile_text
from n6convert.sweeps.run import sweep

FAST = {"simplify.onnxsim": False, "calibration.samples": 4}


def test_the_memory_map_of_the_applications():
    pools = {pool.name: pool for pool in load_target("stm32n6570-dk-app@4.0").pools}
    flash = pools["octoFlash"]
    assert (flash.start, flash.size) == (0x70380000, 61 << 20)
    assert (pools["hyperRAM"].size, pools["cpuRAM2"].start) == (16 << 20, 0x34100000)
    kit = {pool.name: pool for pool in load_target("stm32n6570-dk@4.0").pools}
    assert all(pools[name] == kit[name] for name in ("npuRAM3", "npuRAM4", "npuRAM5", "npuRAM6", "cpuRAM2"))


@pytest.mark.parametrize(("core", "mvei"), [("2.1", True), ("4.0", False)])
def test_the_applications_own_profile_stands_beside_ours(core, mvei, tmp_path):
    path = tmp_path / "user_neuralart.json"
    path.write_text(profile_text(load_target(f"stm32n6570-dk-app@{core}"), "app.mpool"))
    profiles = read_profiles(path)
    ours, theirs = profiles["n6convert"].options, profiles["default"].options
    assert set(ours) ^ set(theirs) == {"--Oauto-sched", "--Oalt-sched"} and "--Oalt-sched" in theirs
    assert ("--mvei" in theirs) == mvei
    assert profiles["default"].memory_pool == "./app.mpool"
    path.write_text(profile_text(load_target(f"stm32n6570-dk@{core}"), "kit.mpool"))
    assert list(read_profiles(path)) == ["n6convert"]


def test_scripts_and_header_carry_the_applications_address():
    target = load_target("stm32n6570-dk-app@4.0")
    command, tables = ["stedgeai", "generate", "--name", "net"], {"vocab.txt": 10, "words.bin": 100_000}
    files = {name: text for name, (_, text) in board_files("n6_net", command, [target], tables).items()}
    assert "--change-addresses 0x70380000 -O ihex net_weights.hex" in files["generate.sh"]
    assert "--change-addresses 0x70380000 -O ihex net_weights.hex\r\n" in files["generate.bat"]
    end = 0x70380000 + (61 << 20)
    assert f"words.bin 0x{end - 2 * ERASE_BLOCK:08X}" in files["generate.sh"]
    assert f"-w words.bin 0x{end - 2 * ERASE_BLOCK:08X}\r\n" in files["generate.bat"]
    assert "cp vocab.txt vocab.txt.bin\n" in files["generate.sh"], "the programmer takes plain data as .bin only"
    assert "copy /y vocab.txt vocab.txt.bin >nul\r\n" in files["generate.bat"]
    assert f"-w vocab.txt.bin 0x{end - 3 * ERASE_BLOCK:08X}\n" in files["generate.sh"]
    assert "MX66UW1G45G_STM32N6570-DK.stldr" in files["generate.bat"]
    assert "#define N6_NET_FLASH_WEIGHTS (0x70380000u)" in files["n6_net_flash.h"]
    assert f"#define N6_NET_FLASH_WORDS (0x{end - 2 * ERASE_BLOCK:08X}u)" in files["n6_net_flash.h"]


def test_tables_share_no_erase_block_and_must_fit():
    pool = flash_pool(load_target("stm32n6570-dk@4.0").pools)
    assert pool is not None
    parts = place_tables(pool, {"a.bin": 1, "b.bin": ERASE_BLOCK + 1, "c.bin": ERASE_BLOCK})
    assert [part.name for part in parts] == ["a.bin", "b.bin", "c.bin"]
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        assert part.start % ERASE_BLOCK == 0
        assert part.start + part.size <= (following.start if following else pool.end)
    with pytest.raises(OutputError, match="tables do not fit"):
        place_tables(pool, {"a.bin": pool.size + 1})
    assert "_FLASH_A (0x" in flash_header("n6_x", pool, {"a.bin": 1})


def own_pools(folder: Path, start: int, size: int = 8 << 20) -> Path:
    """A project's ``*.mpool``: the stock one with the flash elsewhere."""
    text = json.loads(mpool_text(load_target("stm32n6570-dk@4.0").pools))
    for pool in text["memory"]["mempools"]:
        if pool["name"] == "octoFlash":
            pool["offset"]["value"], pool["size"]["value"] = hex(start), str(size)
    path = folder / "app.mpool"
    path.write_text(json.dumps(text))
    return path


def test_convert_takes_the_projects_pools_and_a_name(toy):
    pools = own_pools(toy, 0x70400000)
    words = ["toy", "--weights", "seeded", "--pools", str(pools), "--name", "Door", "--output", "out", "--quiet"]
    assert run([*words, "--set", "simplify.onnxsim=false", "--set", "calibration.samples=4"]) == 0
    command = json.loads(Path("out/stedgeai.json").read_text())["command"]
    assert command[command.index("--name") + 1] == "Door"
    flash = flash_pool(read_mpool("out/stm32n6570-dk.mpool"))
    assert flash is not None
    assert (flash.start, flash.size) == (0x70400000, 8 << 20)
    assert "0x70400000 -O ihex Door_weights.hex" in Path("out/generate.sh").read_text()
    assert "stai_Door_run" in Path("out/n6_door_run.c").read_text()
    assert {"n6_door.h", "n6_door_selftest.c", "n6_door_flash.h"} <= {p.name for p in Path("out").iterdir()}
    own_pools(toy, 0x70800000)  # the same file, changed: nothing of it may come from the cache
    assert run([*words, "--set", "simplify.onnxsim=false", "--set", "calibration.samples=4"]) == 0
    assert "(0x70800000u)" in Path("out/n6_door_flash.h").read_text()


def test_sweep_and_fit_take_them_too(toy):
    pools = own_pools(toy, 0x70400000)
    given = {"weights": "seeded", "compiler": {"pools": str(pools)}}
    (point,) = sweep("toy", {"calibration.samples": [4]}, toy / "sweep", common=given, workers=1)
    assert point.error is None
    (mpool,) = (toy / "sweep").glob("*/stm32n6570-dk.mpool")
    flash = flash_pool(read_mpool(mpool))
    assert flash is not None
    assert flash.start == 0x70400000
    one = convert("toy", weights="seeded", output=toy / "one", settings=FAST | {"compiler.pools": str(pools)}).folder
    assert fit([one, one]).together.flash[0].start == 0x70400000, "as the run's own package describes it"
    moved = own_pools(toy, 0x70600000)
    found = fit([one, one], pools=moved).together
    assert (found.flash[0].start, found.flash_size) == (0x70600000, 8 << 20)
