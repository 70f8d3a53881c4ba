"""Run ST Edge AI on a package folder: find the tool, run the package's own command in time, read its report."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError, ToolError
from n6convert.npu.st import StReport, read_report
from n6convert.npu.st.text import complaints, read_json
from n6convert.store.inputs import is_folder, leads_outside

__all__ = ["COMMAND_FILE", "Compilation", "compile_package", "find_stedgeai", "package_command"]

COMMAND_FILE = "stedgeai.json"
LOG_FILE = "stedgeai.log"
TIME_LIMIT = 1800.0
_FOLDERS = ("", "Utilities/linux", "Utilities/windows", "Utilities/mac", "Utilities/macarm", "bin")
_NAMES = ("stedgeai", "stedgeai.exe")


@dataclass(slots=True)
class Compilation:
    """What came of one run: the parsed report, and where its files lie."""

    report: StReport
    command: tuple[str, ...]
    model: Path
    files: tuple[Path, ...]
    target: str | None = None


def find_stedgeai() -> Path:
    """The tool in ``STEDGEAI_CORE_DIR``, else on the PATH.

    Raises:
        ToolError: neither has it.
    """
    root = os.environ.get("STEDGEAI_CORE_DIR")
    for folder in _FOLDERS if root else ():
        for name in _NAMES:
            candidate = Path(root or "") / folder / name
            if candidate.is_file() and os.access(candidate, os.X_OK):
                return candidate
    on_path = shutil.which("stedgeai")
    if on_path:
        return Path(on_path)
    raise ToolError(
        "ST Edge AI Core is not installed",
        limit="stedgeai in STEDGEAI_CORE_DIR or on the PATH",
        found=f"STEDGEAI_CORE_DIR={root}" if root else "neither",
        remedy="install it from st.com and set STEDGEAI_CORE_DIR, or run the command of the package on another machine",
    )


def package_command(folder: Path) -> tuple[list[str], str | None]:
    """The command a package was written with, and its target.

    Raises:
        SourceError: not a package, or its command file is damaged.
    """
    if not is_folder(folder):
        raise SourceError("no such package folder", place=folder)
    path = folder / COMMAND_FILE
    if not path.is_file():
        raise SourceError(
            "this folder is not a package for ST Edge AI", place=folder, limit=f"a file {COMMAND_FILE}",
            remedy="give the folder that n6convert wrote",
        )  # fmt: skip
    data: Any = read_json(path)
    command = data.get("command") if isinstance(data, dict) else None
    if not isinstance(command, list) or len(command) < 3 or not all(isinstance(word, str) for word in command):
        raise SourceError("the package's command is damaged", place=path, limit='{"command": ["stedgeai", ...]}')
    target = data.get("target")
    return command, target if isinstance(target, str) else None


def compile_package(folder: str | Path, *, time_limit: float = TIME_LIMIT) -> Compilation:
    """Run the package's generate command and parse what it produced.

    Args:
        folder: package folder with ``stedgeai.json``; the tool runs in it and its output goes to ``stedgeai.log``.
        time_limit: seconds after which the tool and its children are killed.

    Raises:
        SourceError: not a package.
        ToolError: the tool is missing, fails, is killed, or leaves no readable report.
    """
    folder = Path(folder)
    command, target = package_command(folder)
    model = folder / _inside(folder, _option(command, ("--model", "-m"), "the model"))
    output = folder / _inside(folder, _option(command, ("--output", "-o"), "the output folder"))
    if not model.is_file():
        raise SourceError(
            "the package's model is missing",
            place=model,
            remedy="convert again: finished stages come from the cache",
        )
    stale = _reports(output)
    for path in stale:
        path.unlink()
    _run([str(find_stedgeai()), *command[1:]], folder, time_limit)
    files = _reports(output)
    if not files:
        raise ToolError(
            "stedgeai ended without an error but left no report", place=output, limit="network_generate_report.txt",
            remedy=f"see {folder / LOG_FILE}",
        )  # fmt: skip
    return Compilation(_parse(files), tuple(command), model, tuple(files), target)


def _option(command: Sequence[str], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in command[:-1]:
            return command[command.index(name) + 1]
    raise SourceError(f"the package's command does not name {what}", limit=" or ".join(names), found=" ".join(command))


def _inside(folder: Path, name: str) -> str:
    """The name, when it stays in the package: a folder that somebody sent names no file elsewhere."""
    if leads_outside(folder, name):
        raise SourceError(
            "the package's command leads out of its folder", place=folder / COMMAND_FILE, found=name,
            remedy="convert again, or run the command by hand",
        )  # fmt: skip
    return name


def _reports(output: Path) -> list[Path]:
    if not output.is_dir():
        return []
    return sorted([*output.glob("*_generate_report.txt"), *output.glob("*_c_info.json")])


def _parse(files: Sequence[Path]) -> StReport:
    try:
        return read_report(*files)
    except SourceError as error:
        raise ToolError(
            f"stedgeai's report cannot be used: {error.problem}", place=error.place, limit=error.limit,
            found=error.found, remedy=error.remedy,
        ) from error  # fmt: skip


def _run(command: Sequence[str], folder: Path, time_limit: float) -> None:
    log = folder / LOG_FILE
    log.unlink(missing_ok=True)  # a link would lead elsewhere
    with log.open("wb") as sink:
        try:
            process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ToolError("stedgeai cannot be started", place=command[0], found=error) from error
        try:
            code = process.wait(timeout=time_limit)
        except subprocess.TimeoutExpired:
            raise ToolError(
                "stedgeai ran out of its time limit and was stopped", place=folder, limit=f"{time_limit:g} s",
                remedy=f"see {log}, or give it more time (--time-limit)",
            ) from None  # fmt: skip
        finally:
            _stop(process)
    if code:
        raise ToolError(
            "stedgeai failed", place=folder, found=f"exit code {code}: {_complaint(log)}", remedy=f"see {log}"
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End the tool and the compilers it started; they share its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:  # Windows has no process groups to signal
            process.kill()
    process.wait()


def _complaint(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    last = next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    return complaints(lines) or last[:600]
