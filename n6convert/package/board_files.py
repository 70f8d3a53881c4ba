"""What depends on the board's memories: the compile scripts, memory descriptions, profiles, and places in the flash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from n6convert.package.commands import Programming, batch_text, command_json, shell_text
from n6convert.package.flash import flash_header, flash_pool, place_tables
from n6convert.package.profiles import mpool_text, profile_text

if TYPE_CHECKING:
    from n6convert.npu.targets import Target

__all__ = ["Files", "board_files", "network_of"]

Files = dict[str, tuple[str, str]]
"""What a file is, in a sentence, and its text, by file name."""


def network_of(command: Sequence[str]) -> str:
    """The name that a compile command gives the network."""
    return command[command.index("--name") + 1]


def board_files(stem: str, command: Sequence[str], targets: Sequence[Target], tables: Mapping[str, int]) -> Files:
    """Files of a package for its boards; the first one is compiled for by default.

    Args:
        stem: prefix of the package's symbols.
        command: of the compiler.
        tables: binary files of the package that lie in the flash beside the weights, and their bytes.

    Raises:
        OutputError: tables larger than the flash.
    """
    main = targets[0]
    flash = flash_pool(main.pools)
    programming = None
    files: Files = {}
    if flash is not None:
        programming = Programming(network_of(command), flash.start, place_tables(flash, tables))
        files[f"{stem}_flash.h"] = ("addresses in the external flash", flash_header(stem, flash, tables))
    files |= {
        "generate.sh": (
            "compiles the model, makes the flash's files (Linux, macOS)",
            shell_text(command, main.name, programming),
        ),
        "generate.bat": (
            "compiles the model, makes the flash's files (Windows)",
            batch_text(command, main.name, programming),
        ),
        "stedgeai.json": ("the compile command for `n6convert compile`", command_json(command, main.name)),
    }
    for target in targets:
        mpool = f"{target.label}.mpool"
        profile = "user_neuralart.json" if target is main else f"user_neuralart.{target.label}.json"
        files[mpool] = (f"memory pools of the {target.label}", mpool_text(target.pools))
        files[profile] = (f"compiler profile for the {target.board}", profile_text(target, mpool))
    return files
