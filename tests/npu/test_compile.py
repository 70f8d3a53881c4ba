"""``compile`` with a fake stedgeai that replays real reports, and everything that can go wrong around it."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path

import pytest

from n6convert import doctor
from n6convert.errors import N6ConvertError, SourceError, ToolError
from n6convert.npu.compile import compile_package, find_stedgeai
from n6convert.npu.st.command import generate_command, profile_options

R01 = "reports/r01_mobilenet_v2_128_0.5_qdq"


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An executable called stedgeai, first on the PATH; tests write its body."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("STEDGEAI_CORE_DIR", raising=False)
    return folder / "stedgeai"


def _script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(b"model")
    command = generate_command("model.onnx", "stm32n6570-dk@3.0", profile_file="user_neuralart.json")
    (folder / "stedgeai.json").write_text(json.dumps({"command": command, "target": "stm32n6570-dk@3.0"}))
    return folder


def _replay(neuralart_dir: Path, version: str = "3.0.0") -> str:
    source = neuralart_dir / R01
    return (
        "mkdir -p st_ai_output\n"
        f"cp {source}/v{version}_network_generate_report.txt st_ai_output/network_generate_report.txt\n"
        f"gzip -dc {source}/v{version}_network_c_info.json.gz > st_ai_output/network_c_info.json\n"
        'echo "$@" > arguments.txt'
    )


def test_replayed_report(tool: Path, package: Path, neuralart_dir: Path) -> None:
    _script(tool, _replay(neuralart_dir))
    result = compile_package(package)
    assert result.report.core_version == "3.0.0-20426" and result.report.sw_ops == {"Softmax": 1}
    assert result.report.max_cycles == 2_220_138
    assert result.model == package / "model.onnx" and result.target == "stm32n6570-dk@3.0"
    words = (package / "arguments.txt").read_text().split()
    assert words[:5] == ["generate", "--model", "model.onnx", "--target", "stm32n6"]
    assert "n6convert@user_neuralart.json" in words


def test_core_dir_wins(tool: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _script(tool, "exit 9")
    inside = tmp_path / "core/Utilities/linux/stedgeai"
    _script(inside, "exit 0")
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(tmp_path / "core"))
    assert find_stedgeai() == inside
    said = doctor._stedgeai()
    assert said.fine and said.found == str(inside), "doctor names the tool that would run"


def test_missing_tool(package: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("STEDGEAI_CORE_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match="not installed") as caught:
        compile_package(package)
    assert "nowhere" in str(caught.value)


def test_time_limit_kills_the_children(tool: Path, package: Path) -> None:
    _script(tool, "(sleep 60; touch survived) & sleep 60")
    started = time.monotonic()
    with pytest.raises(ToolError, match="time limit"):
        compile_package(package, time_limit=0.5)
    assert time.monotonic() - started < 30
    assert not (package / "survived").exists()


def test_failure_shows_the_tools_own_words(tool: Path, package: Path) -> None:
    _script(tool, "echo all fine\necho 'TOOL ERROR: list index out of range' >&2\nexit 3")
    with pytest.raises(ToolError, match="stedgeai failed") as caught:
        compile_package(package)
    assert "list index out of range" in str(caught.value) and "exit code 3" in str(caught.value)


def test_stale_report_is_not_taken_for_the_new_one(tool: Path, package: Path, neuralart_dir: Path) -> None:
    _script(tool, _replay(neuralart_dir))
    compile_package(package)
    _script(tool, "true")
    with pytest.raises(ToolError, match="no report"):
        compile_package(package)


def test_truncated_report(tool: Path, package: Path, neuralart_dir: Path) -> None:
    cut = "head -c 40000 st_ai_output/network_generate_report.txt > x; mv x st_ai_output/network_generate_report.txt"
    _script(tool, f"{_replay(neuralart_dir)}\n{cut}")
    with pytest.raises(ToolError, match="cannot be used"):
        compile_package(package)


def test_unstartable_tool(tool: Path, package: Path) -> None:
    tool.write_bytes(b"\x7fELFnot a program")
    tool.chmod(0o755)
    with pytest.raises(ToolError, match="cannot be started"):
        compile_package(package)


@pytest.mark.parametrize("content", ["{}", "[]", '{"command": "stedgeai"}', '{"command": ["stedgeai", "x", "y"]}', "{"])
def test_damaged_packages(content: str, tool: Path, package: Path) -> None:
    _script(tool, "true")
    (package / "stedgeai.json").write_text(content)
    with pytest.raises(SourceError):
        compile_package(package)


@pytest.mark.parametrize("option", ["--output", "--model"])
@pytest.mark.parametrize("name", ["../victim", "/etc", "link"])
def test_a_package_names_nothing_outside_its_folder(option: str, name: str, tool: Path, package: Path) -> None:
    victim = package.parent / "victim"
    victim.mkdir()
    (victim / "x_generate_report.txt").write_text("mine")
    (package / "link").symlink_to(victim)
    _script(tool, "true")
    command = ["stedgeai", "generate", "--model", "model.onnx", "--output", "out"]
    command[command.index(option) + 1] = name
    (package / "stedgeai.json").write_text(json.dumps({"command": command}))
    with pytest.raises(SourceError, match="leads out"):
        compile_package(package)
    assert (victim / "x_generate_report.txt").read_text() == "mine"


def test_no_package(tool: Path, tmp_path: Path, package: Path) -> None:
    _script(tool, "true")
    for folder in (tmp_path / "missing", tmp_path / "bin"):
        with pytest.raises(N6ConvertError, match="package"):
            compile_package(folder)
    (package / "model.onnx").unlink()
    with pytest.raises(SourceError, match="model is missing"):
        compile_package(package)


def test_command_flags() -> None:
    command = generate_command(
        "m.onnx", "stm32n6570-dk@4.0", input_type="uint8", output_type="float32", channels_last_input=True,
        allocate=(False, False), extra=["--verbosity", "1"],
    )  # fmt: skip
    assert command[:6] == ["stedgeai", "generate", "--model", "m.onnx", "--target", "stm32n6"]
    assert command[command.index("--st-neural-art") + 1] == "default"
    for flag in ("--inputs-ch-position", "--no-inputs-allocation", "--no-outputs-allocation"):
        assert flag in command
    assert command[-2:] == ["--verbosity", "1"]
    assert "--mvei" in profile_options((2, 2)) and "--mvei" not in profile_options((4, 0))
    assert "--enable-epoch-controller" not in profile_options((4, 0), epoch_controller=False)
