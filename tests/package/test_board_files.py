"""The files that follow the board's memories, and that their parts name each other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from n6convert.npu.st.mpool import read_mpool
from n6convert.npu.targets import load_target
from n6convert.package.board_files import board_files, network_of

COMMAND = [
    "stedgeai",
    "generate",
    "--model",
    "net.onnx",
    "--name",
    "mynet",
    "--st-neural-art",
    "n6@user_neuralart.json",
]
DK, NUCLEO = load_target("stm32n6570-dk@4.0"), load_target("nucleo-n657x0-q@4.0")


def test_the_network_is_named_by_the_command() -> None:
    assert network_of(COMMAND) == "mynet"


def test_every_profile_names_pools_that_lie_beside_it(tmp_path: Path) -> None:
    files = board_files("mynet", COMMAND, [DK, NUCLEO], {})
    for name, (_, text) in files.items():
        (tmp_path / name).write_text(text)
    profiles = [name for name in files if name.startswith("user_neuralart")]
    assert sorted(profiles) == ["user_neuralart.json", f"user_neuralart.{NUCLEO.label}.json"]
    for name in profiles:
        for profile in json.loads(files[name][1])["Profiles"].values():
            assert read_mpool(tmp_path / profile["memory_pool"])


@pytest.mark.parametrize("order", [(DK, NUCLEO), (NUCLEO, DK)])
def test_the_first_board_is_compiled_for(order) -> None:  # type: ignore[no-untyped-def]
    files = board_files("mynet", COMMAND, order, {})
    assert f"{order[0].label}.mpool" in files["user_neuralart.json"][1]
    assert order[0].name in files["generate.sh"][1]


def test_a_board_without_flash_has_no_addresses() -> None:
    inside = replace(DK, pools=tuple(pool for pool in DK.pools if not pool.external))
    assert "mynet_flash.h" not in board_files("mynet", COMMAND, [inside], {})
    assert "mynet_flash.h" in board_files("mynet", COMMAND, [DK], {})


def test_every_file_is_described() -> None:
    assert all(
        sentence and text.endswith("\n") for sentence, text in board_files("n", COMMAND, [DK], {"t": 9}).values()
    )


def test_the_command_is_kept_word_by_word() -> None:
    stored = json.loads(board_files("mynet", COMMAND, [DK], {})["stedgeai.json"][1])
    assert COMMAND in (stored, *stored.values()) if isinstance(stored, dict) else stored == COMMAND
