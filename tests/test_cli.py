"""The command line as a user meets it: real processes, their output, their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from n6convert.cli import run
from n6convert.errors import SourceError
from n6convert.recipe.schema import Recipe
from n6convert.results import Report

FAST = ["--set", "simplify.onnxsim=false"]
TOY = ["toy", "--weights", "seeded", *FAST]


def command(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "n6convert", *arguments]
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


def test_model_name_alone_converts(toy: Path) -> None:
    done = command(*TOY)
    assert done.returncode == 0, done.stderr
    assert "build/toy-untrained/toy-untrained_int8.onnx" in done.stdout
    assert "quantize" in done.stderr and "quantize" not in done.stdout


def test_options_may_come_first_and_json_is_the_report_alone(toy: Path) -> None:
    done = command("--json", "--output", "out", *TOY)
    report = Report.model_validate_json(done.stdout)
    assert report.name == "toy-untrained" and Path("out/report.json").exists()


def test_quiet_says_nothing(toy: Path) -> None:
    done = command("--quiet", *TOY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_options_reach_the_recipe(toy: Path) -> None:
    done = command(*TOY, "--samples", "7", "--target", "stm32n6570-dk@2.1", "--set", "seed=3", "--json")
    recipe = json.loads(done.stdout)["recipe"]
    assert (recipe["calibration"]["samples"], recipe["target"], recipe["seed"]) == (7, "stm32n6570-dk@2.1", 3)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["tyo"], 2, "did you mean toy?"),
        (["modles"], 2, "did you mean `models`?"),
        (["estimte", "model.onnx"], 2, "did you mean `estimate`?"),
        (["nowhere.onnx"], 2, "the file does not exist"),
        (["nowhere.yaml"], 2, "the file does not exist"),
        ([*TOY, "--set", "quantization.rangs=mse"], 2, "did you mean ranges"),
        ([*TOY, "--imgsz", "256"], 2, "options.imgsz"),
        ([*TOY, "--no-such-option"], 2, "no-such-option"),
        ([*TOY, "--samples", "many"], 2, "valid integer"),
        ([*TOY, "--samples", "0"], 2, "--samples"),
        (["toy", "--weights", "nowhere.pt"], 1, "nowhere.pt"),
        (["toy"], 1, "pretrained"),
        ([*TOY, "--set", "options.fails_in=build"], 1, "toy trouble"),
        ([*TOY, "--set", "acceptance.min_sqnr_db=200"], 3, "toy-untrained-rejected"),
        ([*TOY, "--target", "stm32n6570-dk@9.9"], 2, "where: --target"),
        ([*TOY, "--set", "package.profiles=[dk]"], 2, "where: --set package.profiles=[dk]"),
        ([*TOY, "--calibration", "nowhere"], 1, "where: --calibration"),
        ([*TOY, "--evaluate", "nowhere.json"], 1, "where: --evaluate"),
    ],
)
def test_mistakes_are_one_message_with_an_exit_code(
    toy: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str
) -> None:
    assert run(arguments) == code
    shown = capsys.readouterr()
    assert words in shown.err and "Traceback" not in shown.err
    assert shown.out == ""


def test_what_does_not_exist_is_found_before_any_work(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*TOY, "--set", "package.profiles=[dk]", "--set", "options.fails_in=build"]) == 2
    assert "export" not in capsys.readouterr().err and not Path("build").exists()


def test_mistake_with_json_is_json(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tyo", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)
    assert error["error"] == "UsageError" and "toy" in error["remedy"]


def test_debug_gives_the_traceback(toy: Path) -> None:
    with pytest.raises(Exception, match="toy trouble"):
        run([*TOY, "--set", "options.fails_in=build", "--debug"])


def test_debug_is_understood_by_every_command(toy: Path) -> None:
    with pytest.raises(SourceError):
        run(["estimate", "nowhere.onnx", "--debug"])


def test_interrupt_is_clean(toy: Path) -> None:
    words = [sys.executable, "-m", "n6convert", *TOY]
    process = subprocess.Popen(
        words,
        env=os.environ | {"N6_TOY_SLEEP": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    while "simplify" not in process.stderr.readline():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "run again" in errors and "Traceback" not in errors


def test_broken_pipe_is_clean(toy: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "n6convert", "recipe", "--schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert done.returncode == 141 and done.stderr == ""


def test_models_lists_without_importing_plugins(toy: Path) -> None:
    code = (
        "import sys; from n6convert.cli import run; assert run(['models']) == 0;"
        "heavy = {'torch', 'tensorflow', 'transformers', 'onnx', 'onnx_ir', 'onnxruntime', 'numpy', 'n6_toy'};"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "n6-toy" in done.stdout and "ready" in done.stdout


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, n6convert; print(*sorted({'numpy', 'onnx', 'pydantic', 'rich', 'yaml'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == ""


def test_recipe_is_complete_and_can_be_run(toy: Path) -> None:
    done = command("recipe", "toy")
    content = yaml.safe_load(done.stdout)
    assert set(content) == set(Recipe.model_fields)
    assert content["options"]["channels"] == 4, "the plugin's own defaults are filled in"
    Path("saved.yaml").write_text(done.stdout)
    assert command("saved.yaml", "--weights", "seeded", *FAST).returncode == 0


def test_recipe_without_a_name_lists_the_ready_ones(toy: Path) -> None:
    done = command("recipe")
    assert done.returncode == 2 and "yolov8n" in done.stderr


def test_doctor_names_what_is_broken_and_the_remedy(toy: Path, site: Path) -> None:
    (site / "n6_toy.py").write_text("import no_such_framework")
    done = command("doctor", "--json")
    checks = {check["what"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert checks["n6convert"]["fine"] and checks["model onnx"]["fine"]
    assert "no_such_framework" in checks["model toy"]["found"] and "n6-toy" in checks["model toy"]["remedy"]


def test_help_lists_every_command_without_loading_it() -> None:
    from n6convert.cli.registry import COMMANDS

    code = (
        "import sys; from n6convert.cli import run; run(['--help']);"
        f"sys.exit(str([m for m in {[f'n6convert.cli.{name}' for name in COMMANDS]} if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert all(name in done.stdout for name in [*COMMANDS, "models", "recipe", "doctor"])


def test_every_lazy_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    from n6convert.cli.registry import COMMANDS

    for name in COMMANDS:
        assert run([name, "--help"]) == 0, name
        assert name in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("n6convert 0.")
