"""A whole package, as a firmware engineer opens it."""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from board_compilers import COMPILERS, compile_objects, stai_header

from n6convert import convert
from n6convert.errors import RecipeError
from n6convert.npu.st.command import PROFILE
from n6convert.npu.st.mpool import read_mpool, read_profiles
from n6convert.npu.targets import load_target
from n6convert.package import flash_tables
from n6convert.package.card import card_text
from n6convert.package.commands import shell_text
from n6convert.package.ports import read_ports
from n6convert.package.profiles import profile_text
from n6convert.package.tolerance import with_free_rounding
from n6convert.report.schema import PartialReport
from n6convert.runtime.session import run_model

pytest.importorskip("n6convert_yolov8")


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package") / "out"
    return convert("yolov8n", weights="seeded", imgsz=64, calibration={"samples": 8}, output=folder).folder


def compiled_ports(model: ir.Model):
    """As the package is compiled by default: a camera's bytes in, int8 out."""
    inputs, outputs = read_ports(model)
    return [port.compiled_as("uint8") for port in inputs], outputs


def sources(package: Path) -> dict[str, str]:
    """All C that needs no header of ST's."""
    found = {p.name: p.read_text() for p in package.iterdir() if p.suffix in (".c", ".h")}
    return {name: text for name, text in found.items() if not needs_st(name)}


def needs_st(name: str) -> bool:
    return name.endswith("_run.c") or name.startswith("app_postprocess")


def test_all_of_its_c_compiles_and_the_selftest_is_the_models_own_answer(package, tmp_path, compile_c):
    library = compile_c(tmp_path, sources(package))
    model = ir.load(next(package.glob("*.onnx")))
    inputs, outputs = compiled_ports(model)
    stored = (ctypes.c_uint8 * inputs[0].size).in_dll(library, "n6_yolov8n_selftest_input_0")
    feeds = {inputs[0].name: inputs[0].from_board(np.array(stored, np.uint8))}
    answers = run_model(model, feeds)
    for index, port in enumerate(outputs):
        expected = (ctypes.c_int8 * port.size).in_dll(library, f"n6_yolov8n_selftest_output_{index}")
        np.testing.assert_array_equal(np.array(expected, np.int8), port.to_board(answers[port.name]).reshape(-1))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_c_file_of_a_package_compiles_as_boards_compile_it(compiler, package, tmp_path):
    """Runner, self-test and adapter included, for both generations of ST's runtime."""
    found = {p.name: p.read_text() for p in package.iterdir() if p.suffix in (".c", ".h")}
    sizes = [re.findall(rf"_{end}PUT_\d+_SIZE \((\d+)\)", found["n6_yolov8n.h"]) for end in ("IN", "OUT")]
    found["app_config.h"] = '#include "n6_yolov8n_app_config.h"\n'
    found["stai_yolov8n.h"] = stai_header("yolov8n", *(list(map(int, some)) for some in sizes))
    for core in (2, 4):
        runtime = found["n6_yolov8n_run.h"].replace("N6_RUNTIME_STAI (1)", f"N6_RUNTIME_STAI ({int(core == 4)})")
        compile_objects(compiler, tmp_path, found | {"n6_yolov8n_run.h": runtime}, core=core)


def test_the_selftest_passes_on_a_board_that_rounds_in_its_own_way(package, tmp_path, compile_c):
    library = compile_c(tmp_path, sources(package))
    model = ir.load(next(package.glob("*.onnx")))
    inputs, outputs = compiled_ports(model)
    stored = np.array((ctypes.c_uint8 * inputs[0].size).in_dll(library, "n6_yolov8n_selftest_input_0"), np.uint8)
    feeds = {inputs[0].name: inputs[0].from_board(stored)}

    def passes(other, given):
        answers = run_model(other, given)
        buffers = [np.ascontiguousarray(p.to_board(answers[p.name])).reshape(-1) for p in outputs]
        kind = ctypes.POINTER(ctypes.c_int8)
        return library.n6_yolov8n_selftest_passed((kind * len(buffers))(*(b.ctypes.data_as(kind) for b in buffers)))

    assert passes(model, feeds)
    assert passes(with_free_rounding(model, 77), feeds)


def test_a_recipe_keeps_channels_first_at_the_input_but_not_in_front_of_a_decoder(package, tmp_path):
    asked = {"weights": "seeded", "imgsz": 64, "calibration": {"samples": 8}, "output": tmp_path / "out"}
    assert "INPUT_0_DIM_3 (3)" in (package / "n6_yolov8n.h").read_text()
    command = json.loads((package / "stedgeai.json").read_text())["command"]
    found = convert("yolov8n", settings={"compiler.input_channels": "chfirst"}, **asked)
    kept = json.loads((found.folder / "stedgeai.json").read_text())["command"]
    assert [word for word in command if word not in kept] == ["--inputs-ch-position"]
    assert "INPUT_0_DIM_1 (3)" in (found.folder / "n6_yolov8n.h").read_text()
    epochs = [json.loads((folder / "report.json").read_text())["placement"]["after"]["epochs"]["total"]
              for folder in (package, found.folder)]  # fmt: skip
    assert epochs[1] == epochs[0] + 1, "one copy packs the planes"
    with pytest.raises(RecipeError, match="decodes channel-last"):
        convert("yolov8n", settings={"compiler.output_channels": "chfirst"}, **asked)


def test_the_header_tells_how_pixels_become_int8(package):
    header = (package / "n6_yolov8n.h").read_text()
    assert "PIXEL_IS_COPY (1)" in header
    assert 'CHANNEL_ORDER "RGB"' in header
    assert "INPUT_0_DIM_3 (3)" in header


def test_the_compile_command_is_one_in_three_forms(package):
    command = json.loads((package / "stedgeai.json").read_text())["command"]
    assert command[:2] == ["stedgeai", "generate"]
    assert next(package.glob("*.onnx")).name in command
    for word in command:
        assert word in (package / "generate.sh").read_text()
        assert word in (package / "generate.bat").read_text()
    assert os.access(package / "generate.sh", os.X_OK)


def test_the_script_runs_the_compiler_it_finds(package, tmp_path):
    here = tmp_path / "package"
    shutil.copytree(package, here)
    tool = tmp_path / "bin" / "stedgeai"
    tool.parent.mkdir()
    tool.write_text(
        '#!/bin/sh\npwd\necho "$@"\nmkdir -p st_ai_output\nprintf w > st_ai_output/yolov8n_atonbuf.xSPI2.raw\n'
    )
    tool.chmod(0o755)
    objcopy = tool.with_name("arm-none-eabi-objcopy")
    objcopy.write_text('#!/bin/sh\necho "$@" > objcopy.txt\n')
    objcopy.chmod(0o755)
    programmer = tool.with_name("STM32_Programmer_CLI")
    programmer.write_text('#!/bin/sh\necho "$@" >> programmer.txt\n')
    programmer.chmod(0o755)
    environment = os.environ | {"PATH": f"{tool.parent}:{os.environ['PATH']}"}
    done = subprocess.run([here / "generate.sh"], env=environment, capture_output=True, text=True, check=True)
    folder, words = done.stdout.splitlines()
    assert Path(folder).samefile(here)
    assert words.split() == json.loads((here / "stedgeai.json").read_text())["command"][1:]
    copy = "-I binary yolov8n_weights.bin --change-addresses 0x71000000 -O ihex yolov8n_weights.hex"
    assert (here / "objcopy.txt").read_text().strip() == copy
    assert (here / "yolov8n_weights.bin").read_text() == "w"
    assert not (here / "programmer.txt").exists(), "nobody asked to program the board"
    subprocess.run([here / "generate.sh"], env=environment | {"N6_PROGRAM": "1"}, capture_output=True, check=True)
    written = (here / "programmer.txt").read_text()
    assert "ExternalLoader/MX66UW1G45G_STM32N6570-DK.stldr -hardRst -w yolov8n_weights.hex" in written
    tool.write_text("#!/bin/sh\nexit 7\n")
    assert subprocess.run([here / "generate.sh"], env=environment, check=False).returncode == 7


def test_profiles_name_pools_that_are_there(package):
    profiles = sorted(package.glob("user_neuralart*.json"))
    assert len(profiles) == 2
    for path in profiles:
        (profile,) = read_profiles(path).values()
        assert profile.memory_pool
        pools = read_mpool(package / profile.memory_pool)
        assert {p.name for p in pools} >= {"npuRAM3", "npuRAM6", "octoFlash"}
    nucleo = read_mpool(package / "nucleo-n657x0-q.mpool")
    assert "hyperRAM" not in {p.name for p in nucleo}


def test_a_profile_passes_the_switches_that_the_estimate_assumed():
    plain, switched = (load_target(f"stm32n6570-dk@4.0{more}") for more in ("", "+expand-softmax"))
    options = [json.loads(profile_text(t, "kit.mpool"))["Profiles"][PROFILE]["options"] for t in (plain, switched)]
    assert options[1] == f"{options[0]} --expand-softmax"
    command = shell_text(["stedgeai"], switched.name)
    assert "ST Edge AI Core 4.0:" in command and "expand-softmax" in command


def test_the_card_says_what_a_reader_must_know(package):
    card = (package / "README.md").read_text()
    for words in ("Untrained", "predicted", "## Licenses", "_selftest.h", "uint8 1x64x64x3", "boxes_8", "not measured"):
        assert words in card
    assert "calibrated on 8 samples of synthetic" in card
    assert "weights: random numbers drawn by n6convert" in card


def test_the_plugins_tables_are_listed_and_counted(tmp_path):
    files = {"words.bin": bytes(2048), "lookup.c": b"int n;", "vocab.txt": b"a"}
    assert flash_tables(files) == {"vocab.txt": 1, "words.bin": 2048}, "all that the application needs but code"
    memory = {"weights": 1024, "activations": 0, "fits": True, "pools": []}
    card = card_text(typed(REPORT | {"memory": memory}), [], [], {}, tables=2048)
    assert "1 KiB of weights and 2 KiB of tables" in card


def test_headers_link_from_cpp(package, tmp_path):
    if not shutil.which("g++"):
        pytest.skip("needs g++")
    headers = sorted(p.name for p in package.glob("*.h"))
    decode = next(name for name in headers if name.endswith("_decode.h"))
    stem = decode.removesuffix("_decode.h")
    call = f"return {stem}_selftest_difference(0, 0) + (int){stem}_decode({stem}_buffers, 1, 1, 0, 0, 0);"
    buffers = f"static const {stem}_output_t *{stem}_buffers[{stem.upper()}_OUTPUTS];"
    lines = [f'#include "{name}"' for name in headers if not name.endswith("_app_config.h")]
    (tmp_path / "main.cpp").write_text("\n".join([*lines, buffers, f"int main() {{ {call} }}"]))
    objects = []
    for source in sorted(path for path in package.glob("*.c") if not needs_st(path.name)):
        objects.append(str(tmp_path / f"{source.stem}.o"))
        subprocess.run(["gcc", "-std=c99", "-c", source, "-o", objects[-1]], check=True)
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{package}"]
    subprocess.run(["g++", *flags, str(tmp_path / "main.cpp"), *objects, "-lm", "-o", tmp_path / "main"], check=True)


def typed(content):
    return PartialReport.model_validate({"n6convert": "0", "name": "net"} | content)


REPORT = {
    "model": "net", "target": "stm32n6570-dk@4.0", "recipe": {"evaluation": {"source": "data/labels.json"}},
    "weights": {"kind": "file", "origin": "mine.pt", "trained": True, "license": None},
    "calibration": {"source": "images", "synthetic": False, "calibration": [{}] * 60, "held_back": [{}]},
    "accuracy": {"metric": "AP", "float": 40.0, "int8": 39.0, "drop": 1.0, "samples": 64},
}  # fmt: skip


def test_the_card_counts_samples_and_does_not_guess_licenses():
    card = card_text(typed(REPORT), [], [], {}, published="AGPL-3.0 (Somebody)")
    for words in (
        "calibrated on 60 samples of images",
        "judged on 1 sample held back",
        "AP measured on 64 samples of labels.json",
        "weights: given by you (mine.pt); n6convert does not know their license; the published weights of this family",
        "calibration samples: given by you; n6convert does not know their license",
        "evaluation samples: given by you",
    ):
        assert words in card
    assert "family" not in card_text(typed(REPORT), [], [], {})
    stated = REPORT | {"weights": REPORT["weights"] | {"license": "MIT"}}
    assert "weights: MIT\n" in card_text(typed(stated), [], [], {}, published="AGPL-3.0")
