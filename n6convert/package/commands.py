"""``generate.sh``, ``generate.bat`` and ``stedgeai.json``: the exact compile command, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence

from n6convert.escaping import batch_word, line_comment, shell_word
from n6convert.npu.targets import load_target

__all__ = ["batch_text", "command_json", "shell_text"]

_SHELL = """\
#!/bin/sh
# Compiles this package for {target}. Needs ST Edge AI Core {version}: put stedgeai on the PATH
# or set STEDGEAI_CORE_DIR to its installation.
set -e
cd "$(dirname "$0")"
if [ -n "$STEDGEAI_CORE_DIR" ]; then PATH="$STEDGEAI_CORE_DIR/Utilities/linux:$STEDGEAI_CORE_DIR:$PATH"; fi
exec {command} "$@"
"""
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


def shell_text(command: Sequence[str], target: str) -> str:
    """A POSIX shell script that runs the command in the package's folder."""
    words = " ".join(map(shell_word, command))
    return _SHELL.format(target=line_comment(target), version=line_comment(_version(target)), command=words)


def batch_text(command: Sequence[str], target: str) -> str:
    """The same for Windows."""
    words = " ".join(map(batch_word, command))
    return _BATCH.format(target=line_comment(target), version=line_comment(_version(target)), command=words)


def command_json(command: Sequence[str], target: str) -> str:
    """What ``n6convert compile`` reads."""
    return json.dumps({"target": target, "command": list(command)}, indent=2) + "\n"


def _version(target: str) -> str:
    major, minor = load_target(target).version
    return f"{major}.{minor}"
