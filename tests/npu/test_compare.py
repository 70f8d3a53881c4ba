"""``compare`` and ``compile`` from the command line, on real models with their real reports."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from n6convert.api.comparing import compare_report, target_of
from n6convert.cli import app as command_line
from n6convert.cli.compare import show
from n6convert.errors import SourceError
from n6convert.npu.compare import Line
from n6convert.npu.options import CompilerOptions, options_of
from n6convert.npu.st import read_report
from n6convert.npu.st.command import generate_command

R10 = "reports/r10_mobilenet_v2_224_int8"
R11 = "reports/r11_yolov8n_micro_224_int8"
R02 = "reports/r02_yolov8n_pose_256"


@pytest.fixture
def app() -> typer.Typer:
    return command_line


def test_compare_prints_tables(app: typer.Typer, neuralart_dir: Path) -> None:
    model, report = neuralart_dir / R10 / "mobilenet_v2_224_int8.onnx", neuralart_dir / R10 / "v2.2.0_cubemx.txt"
    result = CliRunner().invoke(app, ["compare", str(model), str(report)])
    assert result.exit_code == 0, result.output
    for words in ("software operators", "GlobalAveragePool", "npuRAM5", "milliseconds", "epochs agree in order"):
        assert words in result.output


def test_compare_as_json(app: typer.Typer, neuralart_dir: Path) -> None:
    model, report = neuralart_dir / R11 / "yolov8n_micro_224_int8.onnx", neuralart_dir / R11 / "v4.0.1_aistudio.txt.gz"
    result = CliRunner().invoke(app, ["compare", str(model), str(report), "--json"])
    facts = json.loads(result.output)
    totals = {line["name"]: line for line in facts["totals"]}
    assert totals["milliseconds"]["truth"] == 47.584
    assert abs(totals["milliseconds"]["error"]) < 0.25
    assert {line["name"] for line in facts["hybrid"]} >= {"DepthToSpace", "Concat", "Transpose"}
    assert facts["common_epochs"] > 80 and facts["pools"]


@pytest.mark.parametrize(
    ("folder", "files"),
    [
        (R02, ("v2.1.0_network_generate_report.txt.gz", "v2.1.0_network_c_info.json.gz")),
        ("reports/r39_centerface_128", ("v2.2.0_generate_report.txt", "v2.2.0_c_info.json.gz")),
    ],
)
def test_a_report_and_its_c_info_name_the_same_operators(
    neuralart_dir: Path, folder: str, files: tuple[str, ...]
) -> None:
    """What 2.x prints as software is hybrid in its c_info, under all that the epoch does (Concat+Transpose+Reshape)."""
    root = neuralart_dir / folder
    found = compare_report(next(root.glob("*.tflite")), read_report(*(root / name for name in files)))
    assert found.placement_equal and not found.hybrid


def test_a_log_without_controller_is_compared_without_it(neuralart_dir: Path) -> None:
    """r24, a validate log alone: 51.9 ms; with the controller 62.8 would be predicted."""
    root = neuralart_dir / "reports/r24_snn_1000_2"
    report = read_report(root / "v2.2.0_validate_report.txt.gz")
    assert options_of(report).epoch_controller is False
    time = next(
        line for line in compare_report(next(root.glob("*.tflite")), report).totals if line.name == "milliseconds"
    )
    assert time.error is not None and abs(time.error) < 0.05


def test_a_log_alone_counts_the_epochs_that_do_something(app: typer.Typer, neuralart_dir: Path) -> None:
    """r13's log starts at EpochBlock_2: the first epoch is a view, which no log lists."""
    folder = neuralart_dir / "reports/r13_magnus_single_layers/conv2d_3x3"
    arguments = ["compare", str(folder / "model.tflite"), str(folder / "v2.2.0_validate_report.txt")]
    facts = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).output)
    totals = {line["name"]: line for line in facts["totals"]}
    assert (totals["epochs"]["predicted"], totals["epochs"]["truth"]) == (1, 1)
    assert facts["placement_equal"] is None and any("only epochs that do something" in note for note in facts["notes"])
    assert "agree in order" not in CliRunner().invoke(app, arguments).output, "nothing was aligned"


def test_target_follows_the_report(neuralart_dir: Path) -> None:
    slow = target_of(read_report(neuralart_dir / R11 / "v4.0.1_aistudio.txt.gz"))
    assert (slow.name, slow.epoch_controller) == ("nucleo-n657x0-q-aistudio@4.0", True)
    fast = target_of(read_report(neuralart_dir / R10 / "v2.2.0_cubemx.txt"))
    assert fast.name == "stm32n6570-dk@2.2"
    assert options_of(read_report(neuralart_dir / R10 / "v2.2.0_cubemx.txt")).epoch_controller is False
    assert target_of(read_report(neuralart_dir / R10 / "v2.2.0_cubemx.txt"), "stm32n6570-dk@3.0").version == (3, 0)


def test_pools_follow_the_report(neuralart_dir: Path) -> None:
    own = target_of(read_report(neuralart_dir / R02 / "v2.1.0_network_generate_report.txt.gz"))
    assert {pool.name for pool in own.pools} == {"npuRAM3", "npuRAM4", "npuRAM5", "npuRAM6", "hyperRAM", "octoFlash"}
    flash = next(pool for pool in own.pools if pool.name == "octoFlash")
    assert (flash.start, flash.size) == (0x70380000, 63 * 1024**2)
    stock = target_of(read_report(neuralart_dir / R10 / "v2.2.0_cubemx.txt"))
    assert "cpuRAM2" in {pool.name for pool in stock.pools}
    assert "hyperRAM" not in {pool.name for pool in stock.pools}, "this build was given none"


def test_every_stretch_of_difference_is_reported(neuralart_dir: Path) -> None:
    folder = neuralart_dir / R02
    report = read_report(folder / "v2.1.0_network_generate_report.txt.gz", folder / "v2.1.0_network_c_info.json.gz")
    assert not report.allocates_io
    model = folder / "yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
    found = compare_report(model, report, options=CompilerOptions(pools=folder / "stm32n6-app2.mpool"))
    truth = sum(epoch.kind != "none" for epoch in report.epochs)
    assert found.common + sum(len(difference.truth) for difference in found.differences) == truth
    totals = {line.name: line for line in found.totals}
    assert abs(totals["max cycles"].error or 1) < 0.05
    console = Console(record=True, width=120)
    show(found, report, console)
    assert "after epoch" in console.export_text()


def test_a_foreign_report_is_refused(neuralart_dir: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "report.txt"
    wrong.write_text("hello")
    with pytest.raises(SourceError):
        read_report(wrong)


def test_lines() -> None:
    assert Line("a", 11, 10).error == pytest.approx(0.1)
    assert Line("a", 11, None).error is None and Line("a", 11, 0).error is None
    assert Line("a", 3, 3).equal


def test_compile_command(
    app: typer.Typer, neuralart_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole way: package folder, fake stedgeai that replays a real log, comparison with the prediction."""
    package = tmp_path / "package"
    package.mkdir()
    model = neuralart_dir / R10 / "mobilenet_v2_224_int8.onnx"
    (package / "model.onnx").write_bytes(model.read_bytes())
    command = generate_command("model.onnx", "stm32n6570-dk@2.2")
    (package / "stedgeai.json").write_text(json.dumps({"command": command, "target": "stm32n6570-dk@2.2"}))
    tool = tmp_path / "bin" / "stedgeai"
    tool.parent.mkdir()
    report = "st_ai_output/network_generate_report.txt"
    tool.write_text(f'#!/bin/sh\nmkdir -p st_ai_output\ncp "{neuralart_dir / R10}/v2.2.0_cubemx.txt" {report}\n')
    tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("STEDGEAI_CORE_DIR", raising=False)
    result = CliRunner().invoke(app, ["compile", str(package), "--json"])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.output)
    assert facts["placement_equal"] is True
    assert {line["name"]: line["truth"] for line in facts["totals"]}["epochs"] == 58
