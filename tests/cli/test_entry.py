"""From a line of words to a command, and from whatever goes wrong to one message and an exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from n6convert.cli import completion, entry
from n6convert.cli.entry import run
from n6convert.cli.registry import COMMANDS
from n6convert.errors import AcceptanceError, N6ConvertError, RecipeError


@pytest.mark.parametrize(("words", "wanted"), [
    ([], []), (["--version"], ["--version"]), (["-h"], ["-h"]), (["models"], ["models"]),
    (["toy", "--json"], ["convert", "toy", "--json"]), (["--json", "toy"], ["convert", "--json", "toy"]),
    (["estimate", "toy"], ["estimate", "toy"]), (["some/network.onnx"], ["convert", "some/network.onnx"]),
    (["ünknown"], ["convert", "ünknown"]), ([""], ["convert", ""]), (["a\0b"], ["convert", "a\0b"]),
])  # fmt: skip
def test_a_word_that_is_no_command_is_a_model(words: list[str], wanted: list[str]) -> None:
    assert entry._with_default_command(words) == wanted


@pytest.mark.parametrize(("given", "found"), [(None, "1"), ("3", "3")])
def test_the_program_computes_arrays_with_one_thread_unless_told_otherwise(given: str | None, found: str) -> None:
    words = "import os, sys; sys.argv = ['n6convert', '--version']; from n6convert.cli import entry"
    seen = "entry.run = lambda words: print(os.environ['OPENBLAS_NUM_THREADS'], 'numpy' in sys.modules); entry.main()"
    variables = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    variables |= {"OPENBLAS_NUM_THREADS": given} if given else {}
    done = subprocess.run([sys.executable, "-c", f"{words}; {seen}"], env=variables, capture_output=True, text=True)
    assert done.stdout.split() == [found, "False"]


def test_a_file_called_nearly_like_a_command_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["modles"]) == 2
    (tmp_path / "modles").touch()
    assert entry._with_default_command(["modles"]) == ["convert", "modles"]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException], None]:
    """``models`` raises what it is given."""

    def set_up(error: BaseException) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr("n6convert.registry.list_models", fail)

    return set_up


FAILURES: dict[str, tuple[BaseException, int, list[str]]] = {
    "ours": (N6ConvertError("it is wrong", place="here"), 1, ["error: it is wrong", "where: here"]),
    "a recipe": (RecipeError("no such key"), 2, ["no such key"]),
    "not accepted": (AcceptanceError("too slow"), 3, ["too slow"]),
    "memory": (MemoryError(), 1, ["not enough memory", "smaller input size"]),
    "a file": (PermissionError(13, "Permission denied", "some/file"), 1, ["cannot be used", "some/file",
    "Permission denied"]),
    "a full disk": (OSError(28, "No space left on device"), 1, ["cannot be used", "No space left on device"]),
    "a bug": (ZeroDivisionError("division by zero"), 1, ["unexpected ZeroDivisionError", "this is a bug", "--debug"]),
    "an error of the system without a number": (OSError("odd"), 1, ["unexpected OSError", "this is a bug"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_what_goes_wrong_is_one_message(name: str, failing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    error, code, words = FAILURES[name]
    failing(error)
    assert run(["models"]) == code
    out, err = capsys.readouterr()
    assert not out and all(word in err for word in words) and "Traceback" not in err
    assert ("this is a bug" in err) == ("this is a bug" in words)
    assert run(["models", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["problem"] and found["error"].endswith("Error")
    with pytest.raises(type(error)) as caught:
        run(["models", "--debug"])
    assert caught.value is error


def test_what_the_command_line_does_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["models", "--nothing"], ["models", "one", "two"], ["debug"], ["debug", "toy", "--count", "0"]):
        assert run(words) == 2, words
        err = capsys.readouterr().err
        assert err.startswith("error: ") and "try: n6convert --help" in err and "Traceback" not in err


def test_a_command_may_end_with_a_code_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for code in (0, 1, 7):

        def stop(code: int = code) -> None:
            raise typer.Exit(code)

        monkeypatch.setattr("n6convert.registry.list_models", stop)
        assert run(["models"]) == code


@pytest.mark.parametrize("start", ["", "y", "yolov8n", "zzz"])
def test_names_behind_the_tab_key(start: str) -> None:
    found = completion.models(start)
    assert found == sorted(set(found)) and all(name.startswith(start) for name in found)
    assert bool(found) == (start != "zzz")


def test_targets_and_keys_behind_the_tab_key() -> None:
    assert "stm32n6570-dk@4.0" in completion.targets("stm32n6570")
    assert completion.targets("other") == [] and len(completion.targets("")) > 10
    keys = completion.settings("")
    assert len(set(keys)) == len(keys) and all("=" in key for key in keys)
    assert completion.settings("quantization.ran") == [
        "quantization.ranges=", *(f"quantization.ranges={v}" for v in
        ("minmax", "moving-average", "percentile", "entropy", "mse", "auto")), "quantization.ranges_file=",
    ]  # fmt: skip
    assert "seed=" in keys and not any(key.startswith("quantization=") for key in keys)


def test_commands_are_listed_once() -> None:
    assert len(set(COMMANDS)) == len(COMMANDS) and "convert" in COMMANDS
