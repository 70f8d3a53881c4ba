"""Compiling generated C as boards do: every compiler that is installed, warnings as errors, against stub headers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

STUBS = Path(__file__).parent / "stubs"
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-pedantic", "-O2"]
COMPILERS = {
    "gcc": [],
    "clang": [],
    "arm-none-eabi-gcc": ["-mcpu=cortex-m55", "-mfloat-abi=hard", "-mthumb"],
}


def stai_header(name: str, inputs: Sequence[int], outputs: Sequence[int]) -> str:
    """``stai_<name>.h`` as ST Edge AI writes it, for buffers of so many bytes."""
    upper = name.upper()
    sizes = [(end, i + 1, size) for end, found in (("IN", inputs), ("OUT", outputs)) for i, size in enumerate(found)]
    lines = [f"#define STAI_{upper}_{end}_{i}_SIZE_BYTES ({size})" for end, i, size in sizes]
    counts = [f"#define STAI_{upper}_{end}_NUM ({len(n)})" for end, n in (("IN", inputs), ("OUT", outputs))]
    return "\n".join(['#include "stai.h"', f"STUB_STAI_NETWORK({name})", f"#define STAI_{upper}_CONTEXT_SIZE (64)",
                      *counts, *lines, ""])  # fmt: skip


def compile_objects(compiler: str, folder: Path, sources: Mapping[str, str], *, core: int = 4) -> list[Path]:
    """Object files of the sources; skips the test where the compiler is not installed.

    Args:
        sources: files by name, written to the folder.
        core: ST Edge AI Core whose interfaces the stub headers have: 2 or 4.
    """
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    for name, text in sources.items():
        (folder / name).write_text(text)
    files = [name for name in sorted(sources) if name.endswith(".c")]
    objects = [folder / f"{Path(name).stem}.o" for name in files]
    flags = [*STRICT, *COMPILERS[compiler], f"-DSTUB_CORE={core}", f"-I{folder}", f"-I{STUBS}"]
    for name, made in zip(files, objects, strict=True):
        command = [compiler, *flags, "-c", str(folder / name), "-o", str(made)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return objects


def shared_object(folder: Path, sources: Mapping[str, str], *, core: int = 4) -> ctypes.CDLL:
    """The same sources as a library of this machine, made by gcc."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    for name, text in sources.items():
        (folder / name).write_text(text)
    files = [str(folder / name) for name in sorted(sources) if name.endswith(".c")]
    flags = [*STRICT, f"-DSTUB_CORE={core}", f"-I{folder}", f"-I{STUBS}", "-shared", "-fPIC"]
    command = ["gcc", *flags, *files, "-lm", "-o", str(folder / "lib.so")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "lib.so"))


def answering_runtime(name: str, stem: str, inputs: int, outputs: int) -> str:
    """C of a network whose runtime answers its self-test, for the host; ``<name>_runs`` counts inferences."""
    cases = "\n".join(
        f"  memcpy(out[{i}], {stem}_selftest_output_{i}, {stem}_outputs[{i}].size);" for i in range(outputs)
    )
    return f"""
#include <string.h>
#include "stai_{name}.h"
#include "{stem}_run.h"
#include "{stem}_selftest.h"
#define ROOM 65536
int {name}_runs;
static __attribute__((aligned(32))) uint8_t in[{inputs}][ROOM], out[{outputs}][ROOM];
stai_return_code stai_{name}_init(stai_network *n) {{ (void)n; return STAI_SUCCESS; }}
stai_return_code stai_{name}_get_inputs(stai_network *n, stai_ptr *found, stai_size *count)
{{
  uint32_t i;
  (void)n;
  for (i = 0; i < *count; i++) found[i] = in[i];
  return STAI_SUCCESS;
}}
stai_return_code stai_{name}_get_outputs(stai_network *n, stai_ptr *found, stai_size *count)
{{
  uint32_t i;
  (void)n;
  for (i = 0; i < *count; i++) found[i] = out[i];
  return STAI_SUCCESS;
}}
stai_return_code stai_{name}_run(stai_network *n, stai_run_mode mode)
{{
  (void)n;
  (void)mode;
  {name}_runs++;
{cases}
  return STAI_DONE;
}}
stai_return_code stai_ext_{name}_new_inference(stai_network *n) {{ (void)n; return STAI_SUCCESS; }}
"""


HOST = """
#include "stm32n6xx.h"
#include "ll_aton_runtime.h"
#include "stai.h"
int begun;
stai_return_code stai_runtime_init(void) { begun++; return STAI_SUCCESS; }
void LL_ATON_OSAL_WFE(void) { }
void SCB_CleanInvalidateDCache_by_Addr(volatile void *addr, int32_t dsize) { (void)addr; (void)dsize; }
void SCB_InvalidateDCache_by_Addr(volatile void *addr, int32_t dsize) { (void)addr; (void)dsize; }
"""
"""What is left of a board on the host."""
