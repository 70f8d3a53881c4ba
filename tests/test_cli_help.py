"""Help and completion: every command the same."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict

import pytest
import typer

from n6convert.cli import completion
from n6convert.cli.registry import COMMANDS, GROUPS, real_command

#: options that mean the same wherever they are
SHARED = {"target", "calibration", "samples", "evaluate", "weights", "pools", "as_json", "quiet", "no_cache", "force"}


def real(name: str) -> typer.core.TyperCommand:
    return real_command(name)  # type: ignore[no-any-return]


def test_every_command_is_in_one_group_and_has_its_own_file() -> None:
    assert len(COMMANDS) == sum(map(len, GROUPS.values())) >= 17
    assert all(real(name).name == name for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_the_command_itself(name: str) -> None:
    command = real(name)
    assert command.context_settings["help_option_names"] == ["-h", "--help"]
    lines = [line.strip() for line in (command.epilog or "").splitlines() if "n6convert " in line]
    assert lines and (command.epilog or "").startswith("Examples:")
    assert all(line.split()[1] == name for line in lines) or name == "convert"


def test_a_shared_option_is_the_same_in_every_command() -> None:
    seen = defaultdict(set)
    for name in COMMANDS:
        for option in real(name).params:
            if option.name in SHARED:
                seen[option.name].add((tuple(option.opts), getattr(option, "help", None)))
    assert set(seen) >= SHARED
    assert {name: forms for name, forms in seen.items() if len(forms) > 1} == {}


def test_options_exist_wherever_they_make_sense() -> None:
    """What takes samples takes how many, what may convert asks for other keys and can run every stage again."""
    named = {name: {option.name for option in real(name).params} for name in COMMANDS}
    calibrating = {name for name, options in named.items() if "calibration" in options}
    assert calibrating >= {"convert", "quantize", "rewrite", "debug", "tune", "requantize", "sweep"}
    lacking = {name: {"samples", "settings", "target", "quiet", "no_cache"} - named[name] for name in calibrating}
    assert {name: options for name, options in lacking.items() if options} == {}
    converting = {name for name, options in named.items() if "weights" in options}
    assert {name for name in converting if not {"no_cache", "quiet", "target"} <= named[name]} == set()


def test_help_of_an_option_is_a_sentence() -> None:
    texts = [(n, o.opts, o.help) for n in COMMANDS for o in real(n).params if getattr(o, "help", None)]
    assert [t for t in texts if not (t[2][0].isupper() or t[2][0] in "`*.") or not t[2].endswith((".", ")"))] == []


def complete(words: str, position: int) -> list[str]:
    environment = {
        **os.environ, "_N6CONVERT_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position),
    }  # fmt: skip
    done = subprocess.run([sys.executable, "-m", "n6convert"], env=environment, capture_output=True, text=True)
    return done.stdout.split()


def test_the_shell_completes_commands_models_and_keys() -> None:
    assert "estimate" in complete("n6convert est", 1)
    assert "quantization.ranges=mse" in complete("n6convert any --set quantization.ranges=", 3)
    assert "--no-cache" in complete("n6convert any --no-", 2)


def test_completion_lists_what_there_is() -> None:
    assert "onnx" in completion.models("on")
    assert "stm32n6570-dk@4.0" in completion.targets("stm32n6570-dk@")
    assert completion.settings("nothing") == []
    assert "seed=" in completion.settings("see")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_can_be_read_at_eighty_columns(name: str) -> None:
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run(
        [sys.executable, "-m", "n6convert", name, "--help"], capture_output=True, text=True, env=environment, check=True
    )
    assert "…" not in done.stdout
    for option in (option for p in real(name).params for option in p.opts if option.startswith("--")):
        assert option in done.stdout


def test_without_arguments_there_is_help_and_no_error() -> None:
    done = subprocess.run([sys.executable, "-m", "n6convert"], capture_output=True, text=True, check=False)
    assert "Usage" in done.stdout + done.stderr and "error" not in done.stderr
