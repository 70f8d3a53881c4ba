"""``generate.sh``, ``generate.bat`` and ``stedgeai.json``: the exact compile command, for people and for programs.

The scripts go on to what the flash needs: the weights as an Intel hex file and, when asked, the programmer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from n6convert.escaping import batch_word, line_comment, shell_word
from n6convert.npu.targets import load_target
from n6convert.package.flash import FlashPart

__all__ = ["Programming", "batch_text", "command_json", "shell_text"]

_LOADERS = {
    "stm32n6570-dk": "MX66UW1G45G_STM32N6570-DK.stldr",
    "nucleo-n657x0-q": "MX25UM51245G_STM32N6570-NUCLEO.stldr",
}
"""ST's external flash loader of each board, in the programmer's folder ExternalLoader."""

_SHELL = """\
#!/bin/sh
# Compiles this package for {target}. Needs ST Edge AI Core {version}: put stedgeai on the PATH
# or set STEDGEAI_CORE_DIR to its installation.
set -e
cd "$(dirname "$0")"
if [ -n "$STEDGEAI_CORE_DIR" ]; then PATH="$STEDGEAI_CORE_DIR/Utilities/linux:$STEDGEAI_CORE_DIR:$PATH"; fi
{command} "$@"
"""
_SHELL_FLASH = """\

# The weights for the flash, at the address they were compiled for.
raw={raw}
if [ ! -f "$raw" ]; then echo "no $raw: nothing to program" >&2; exit 0; fi
cp "$raw" {network}_weights.bin
if ! command -v arm-none-eabi-objcopy >/dev/null; then
  echo "arm-none-eabi-objcopy is not on the PATH: {network}_weights.hex was not made" >&2
  exit 0
fi
arm-none-eabi-objcopy -I binary {network}_weights.bin --change-addresses {address} -O ihex {network}_weights.hex

# With N6_PROGRAM=1 the board's flash is programmed, too; N6_LOADER is the external loader, if not ST's.
if [ "$N6_PROGRAM" != 1 ]; then exit 0; fi
loader="${{N6_LOADER:-$(dirname "$(command -v STM32_Programmer_CLI)")/ExternalLoader/{loader}}}"
{lines}
"""
_SHELL_WRITE = 'STM32_Programmer_CLI -c port=SWD mode=HOTPLUG -el "$loader" -hardRst -w {what}'
_BATCH = """\
@echo off\r
setlocal DisableDelayedExpansion\r
chcp 65001 >nul\r
rem Compiles this package for {target}. Needs ST Edge AI Core {version}: put stedgeai on the PATH\r
rem or set STEDGEAI_CORE_DIR to its installation.\r
cd /d "%~dp0"\r
if defined STEDGEAI_CORE_DIR set "PATH=%STEDGEAI_CORE_DIR%\\Utilities\\windows;%STEDGEAI_CORE_DIR%;%PATH%"\r
{command} %*\r
"""
_BATCH_FLASH = """\
if errorlevel 1 exit /b 1\r
rem The weights for the flash, at the address they were compiled for.\r
if not exist {raw} exit /b 0\r
copy /y {raw} {network}_weights.bin >nul\r
arm-none-eabi-objcopy -I binary {network}_weights.bin --change-addresses {address} -O ihex {network}_weights.hex\r
if errorlevel 1 exit /b 1\r
rem With N6_PROGRAM=1 the board's flash is programmed, too; N6_LOADER is the external loader, if not ST's.\r
if not "%N6_PROGRAM%"=="1" exit /b 0\r
for %%P in (STM32_Programmer_CLI.exe) do set "N6_TOOLS=%%~dp$PATH:P"\r
if not defined N6_LOADER set "N6_LOADER=%N6_TOOLS%ExternalLoader\\{loader}"\r
{lines}\r
"""
_BATCH_WRITE = 'STM32_Programmer_CLI -c port=SWD mode=HOTPLUG -el "%N6_LOADER%" -hardRst -w {what}'


@dataclass(frozen=True)
class _Form:
    """How one kind of script says what follows the compiler."""

    text: str
    copy: str
    write: str
    line: str
    slash: str
    word: Callable[[str], str]


_SHELL_FORM = _Form(_SHELL_FLASH, "cp {0} {1}", _SHELL_WRITE, "\n", "/", shell_word)
_BATCH_FORM = _Form(_BATCH_FLASH, "copy /y {0} {1} >nul", _BATCH_WRITE, "\r\n", "\\", batch_word)


@dataclass(frozen=True)
class Programming:
    """What goes into the flash beside the firmware.

    Attributes:
        network: name that the network is compiled with, an identifier.
        address: of the weights.
        tables: the package's further binary files and their places.
    """

    network: str
    address: int
    tables: Sequence[FlashPart] = ()


def _programmable(name: str) -> str:
    """A name under which the programmer takes plain data."""
    return name if name.endswith(".bin") else f"{name}.bin"


def shell_text(command: Sequence[str], target: str, programming: Programming | None = None) -> str:
    """A POSIX shell script that runs the command in the package's folder, then makes and programs the flash's files.

    Args:
        command: words of the compile command.
        target: `board@version` that it compiles for.
        programming: what is written to flash; None: nothing.
    """
    words = " ".join(map(shell_word, command))
    head = _SHELL.format(target=line_comment(target), version=line_comment(_version(target)), command=words)
    return head + (_flash(_SHELL_FORM, target, programming) if programming else "")


def batch_text(command: Sequence[str], target: str, programming: Programming | None = None) -> str:
    """The same for Windows.

    Args:
        command: words of the compile command.
        target: `board@version` that it compiles for.
        programming: what is written to flash; None: nothing.
    """
    words = " ".join(map(batch_word, command))
    head = _BATCH.format(target=line_comment(target), version=line_comment(_version(target)), command=words)
    return head + (_flash(_BATCH_FORM, target, programming) if programming else "")


def _flash(form: _Form, target: str, programming: Programming) -> str:
    board = load_target(target).label
    loader = next((file for name, file in _LOADERS.items() if board.startswith(name)), "set-N6_LOADER.stldr")
    places = [f"{form.word(_programmable(part.name))} 0x{part.start:08X}" for part in programming.tables]
    renamed = [(part.name, _programmable(part.name)) for part in programming.tables if not part.name.endswith(".bin")]
    lines = [form.copy.format(*map(form.word, names)) for names in renamed]
    lines += [form.write.format(what=what) for what in (f"{programming.network}_weights.hex", *places)]
    return form.text.format(
        raw=form.slash.join(["st_ai_output", f"{programming.network}_atonbuf.xSPI2.raw"]),
        network=programming.network,
        address=f"0x{programming.address:08X}",
        loader=loader,
        lines=form.line.join(lines),
    )


def command_json(command: Sequence[str], target: str) -> str:
    """What ``n6convert compile`` reads."""
    return json.dumps({"target": target, "command": list(command)}, indent=2) + "\n"


def _version(target: str) -> str:
    major, minor = load_target(target).version
    return f"{major}.{minor}"
