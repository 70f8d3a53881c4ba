"""A cascade's packages: they compile and link into one firmware, share RAM, and lie side by side in the flash."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from board_compilers import HOST, STUBS, answering_runtime, compile_objects, shared_object, stai_header

from n6convert import convert
from n6convert.cli import run
from n6convert.errors import OutputError, SourceError, UsageError
from n6convert.fitting.cascade import fit
from n6convert.fitting.firmware import write_firmware
from n6convert.fitting.plan import plan
from n6convert.fitting.resident import Resident
from n6convert.npu.st.mpool import read_mpool
from n6convert.npu.targets import load_target
from n6convert.package.flash import flash_pool
from n6convert.report.html import read_report

SMALL = {"simplify.onnxsim": False, "calibration.samples": 4}
PLAIN = {"quantization.ranges": "minmax", "quantization.equalization": False, "quantization.bias_correction": False}
BERT = {"sequence": 12, "layers": 1, "hidden": 24, "heads": 3, "intermediate": 40, "vocabulary": 50}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector and a classifier of texts, as the study's cascade has them."""
    pytest.importorskip("n6convert_yolov8")
    pytest.importorskip("n6convert_tinybert")
    folder = tmp_path_factory.mktemp("cascade")
    eyes = convert("yolov8n", weights="seeded", imgsz=64, calibration={"samples": 8}, output=folder / "eyes")
    words = convert(
        "tinybert", weights="seeded", calibration={"samples": 8}, output=folder / "words", settings=PLAIN, **BERT
    )
    target = folder / "firmware"
    fit([eyes.folder, words.folder], write=target)
    return target


def sources(folder: Path) -> dict[str, str]:
    found = {p.name: p.read_text() for p in folder.rglob("*") if p.suffix in (".c", ".h")}
    assert len(found) == len([p for p in folder.rglob("*") if p.suffix in (".c", ".h")]), (
        "every file has a name of its own"
    )
    return {name: text for name, text in found.items() if not name.startswith("app_postprocess")}


def buffers(folder: Path, stem: str) -> tuple[list[int], list[int]]:
    """Sizes of input and output buffers by the package's header."""
    text = (folder / f"{stem}.h").read_text()
    given, made = (
        re.findall(rf"^#define {stem.upper()}_{end}PUT_\d+_SIZE \((\d+)\)$", text, re.M) for end in ("IN", "OUT")
    )
    return list(map(int, given)), list(map(int, made))


@pytest.fixture
def firmware(written: Path) -> dict[str, str]:
    """All sources of the cascade, with runtimes of the host and memory for results that wait."""
    found = sources(written)
    waiting = "#include <stdint.h>\nextern unsigned char host_memory[65536];\n"
    found["host.h"] = waiting + "#define N6_CASCADE_YOLOV8N_WAITING ((uintptr_t)host_memory)\n"
    found["n6_cascade.h"] = '#include "host.h"\n' + found["n6_cascade.h"]
    found["host.c"] = HOST + "__attribute__((aligned(32))) unsigned char host_memory[65536];\n"
    for name in ("yolov8n", "tinybert"):
        given, made = buffers(written / name, f"n6_{name}")
        found[f"stai_{name}.h"] = stai_header(name, given, made)
        found[f"runtime_{name}.c"] = answering_runtime(name, f"n6_{name}", len(given), len(made))
    return found


def test_one_firmware_links_and_every_network_passes_its_selftest(firmware, tmp_path, capfd):
    library = shared_object(tmp_path, firmware)
    assert library.n6_cascade_init() == 0
    assert ctypes.c_int.in_dll(library, "begun").value == 1, "one runtime for both"
    assert library.n6_cascade_selftest() == 1
    ctypes.CDLL(None).fflush(None)
    out = capfd.readouterr().out
    assert "n6_yolov8n self-test: PASS 6/6" in out and "n6_tinybert self-test: PASS" in out


def test_a_frame_runs_in_order_and_ends_where_the_application_says(firmware, tmp_path):
    library = shared_object(tmp_path, firmware)
    assert library.n6_cascade_init() == 0
    seen: list[str] = []
    memory = ctypes.addressof((ctypes.c_ubyte * 65536).in_dll(library, "host_memory"))
    fill = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    use = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
    people = 1

    def detector(_context, outputs):
        seen.append("detect")
        assert outputs[0] == memory, "its results wait where nobody overwrites them"
        size = (ctypes.c_int8 * 16).in_dll(library, "n6_yolov8n_selftest_output_0")
        assert ctypes.string_at(outputs[0], 16) == bytes(size)
        return people

    class Application(ctypes.Structure):
        _fields_ = [("fill_a", fill), ("use_a", use), ("fill_b", fill), ("use_b", use)]

    application = Application(
        fill(lambda _: seen.append("look")), use(detector), fill(lambda _: seen.append("listen")),
        use(lambda _context, _outputs: seen.append("classify") or 1),
    )  # fmt: skip
    assert library.n6_cascade_frame(ctypes.byref(application), None) == 0
    assert seen == ["look", "detect", "listen", "classify"]
    people = 0
    assert library.n6_cascade_frame(ctypes.byref(application), None) == 0
    assert seen[4:] == ["look", "detect"], "nobody is there: the text is not classified"
    runs = [ctypes.c_int.in_dll(library, f"{name}_runs").value for name in ("yolov8n", "tinybert")]
    assert runs == [2, 1]


@pytest.mark.parametrize("compiler", ["clang", "arm-none-eabi-gcc"])
def test_other_compilers(compiler, written, firmware, tmp_path):
    own = {
        name: text
        for name, text in firmware.items()
        if name not in ("host.h", "host.c") and not name.startswith("runtime_")
    }
    compile_objects(compiler, tmp_path, own | {"n6_cascade.h": (written / "n6_cascade.h").read_text()})


def test_the_documented_application_links(firmware, tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "cascade.md").read_text()
    example = page.partition("```c\n")[2].partition("```")[0]
    library = shared_object(tmp_path, firmware | {"example.c": example})
    assert library.frame


def test_cpp_links_the_cascade(firmware, tmp_path):
    objects = compile_objects("gcc", tmp_path, firmware)
    (tmp_path / "main.cpp").write_text(
        '#include "n6_cascade.h"\nint main() { return n6_cascade_init() + n6_cascade_selftest(); }\n'
    )
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{tmp_path}", f"-I{STUBS}"]
    command = ["g++", *flags, str(tmp_path / "main.cpp"), *map(str, objects), "-lm", "-o", str(tmp_path / "main")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_flash_side_by_side_and_ram_shared(written):
    first, second = (read_mpool(written / name / "stm32n6570-dk.mpool") for name in ("yolov8n", "tinybert"))
    one, two = flash_pool(first), flash_pool(second)
    assert one is not None and two is not None
    assert (one.start, two.start) == (0x71000000, one.end)
    header = (written / "tinybert" / "n6_tinybert_flash.h").read_text()
    assert f"N6_TINYBERT_FLASH_WEIGHTS (0x{two.start:08X}u)" in header
    places = [int(line.split("(0x")[1][:8], 16) for line in header.splitlines() if "FLASH_EMBEDDING" in line]
    assert len(places) == 3 and all(two.start < place < two.end for place in places)
    script = (written / "tinybert" / "generate.sh").read_text()
    assert f"--change-addresses 0x{two.start:08X}" in script and "-w embedding_words.bin 0x" in script
    ram = [{pool.name: (pool.start, pool.size) for pool in pools if pool.writable} for pools in (first, second)]
    changed = [name for name in ram[0] if ram[0][name] != ram[1][name]]
    (waiting,) = [line for line in (written / "n6_cascade.h").read_text().splitlines() if "_WAITING (0x" in line]
    assert changed == [waiting.split("/* ")[1].split(":")[0]], "only where results wait"
    start, size = ram[1][changed[0]]
    place = int(waiting.split("(0x")[1][:8], 16)
    assert not start <= place < start + size, "the later network has no way to them"
    assert (written / "tinybert" / "vocab.txt").exists() or (written / "tinybert" / "embedding_words.bin").exists()


def test_the_scripts_compile_every_package(written, tmp_path):
    here = tmp_path / "firmware"
    shutil.copytree(written, here)
    tool = tmp_path / "bin" / "stedgeai"
    tool.parent.mkdir()
    weights = 'name=$(echo "$@" | sed "s/.*--name \\([a-z0-9]*\\).*/\\1/")\nmkdir -p st_ai_output\n'
    tool.write_text(f"#!/bin/sh\n{weights}head -c ${{BYTES:-9}} /dev/zero > st_ai_output/${{name}}_atonbuf.xSPI2.raw\n")
    tool.chmod(0o755)
    environment = os.environ | {"PATH": f"{tool.parent}:/usr/bin:/bin"}
    assert subprocess.run([here / "generate.sh"], env=environment, capture_output=True, check=False).returncode == 0
    assert (here / "yolov8n" / "yolov8n_weights.bin").exists() and (here / "tinybert" / "tinybert_weights.bin").exists()
    done = subprocess.run(
        [here / "generate.sh"], env=environment | {"BYTES": "9000000"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and "larger than the" in done.stderr


def test_what_cannot_be_written(toy, capsys):
    one = convert("toy", weights="seeded", output=toy / "one", settings=SMALL).folder
    with pytest.raises(UsageError, match="same network name"):
        fit([one, one], write=toy / "firmware")
    two = convert("toy", weights="seeded", output=toy / "two", settings=SMALL | {"package.name": "other"}).folder
    busy = toy / "busy"
    busy.mkdir()
    (busy / "mine.txt").write_text("x")
    with pytest.raises(OutputError, match="something else"):
        fit([one, two], write=busy)
    assert run(["fit", str(one), str(two), "--write", "firmware", "--quiet"]) == 0
    assert run(["fit", str(two), str(one), "--write", "firmware", "--quiet"]) == 0, "again over its own"
    assert {p.name for p in Path("firmware").iterdir()} >= {
        "toy",
        "other",
        "n6_cascade.h",
        "n6_cascade.c",
        "generate.sh",
    }
    residents = [Resident.of(read_report(folder)) for folder in (one, two)]
    (one / "n6_toy_run.h").unlink()
    pools = load_target("stm32n6570-dk@4.0").pools
    with pytest.raises(SourceError, match="cannot run beside others"):
        write_firmware(toy / "third", [one, two], plan(residents, pools), "stm32n6570-dk@4.0", pools)
