"""Running the network on the board: both runtimes, caches, buffers of the application, and the self-test's verdict."""

from __future__ import annotations

import ctypes
import subprocess

import numpy as np
import pytest
from board_compilers import COMPILERS, STUBS, compile_objects, shared_object, stai_header

from n6convert.package.csource import interface_header, interface_source
from n6convert.package.ports import Port
from n6convert.package.runtime import runtime_sources
from n6convert.package.selftest import selftest_header, selftest_source
from n6convert.package.tolerance import Tolerance

INPUTS = [Port("image", (1, 3, 8, 8), 1 / 255, -128, True).compiled_as("uint8")]
OUTPUTS = [Port("boxes", (1, 2, 4, 4), 0.37, 5, True), Port("scores", (1, 7), 0.5, 0, False)]
VERSIONS = {2: (2, 2), 4: (4, 0)}


def package(core: int, allocated=(True, True), network="net") -> dict[str, str]:
    rng = np.random.default_rng(1)
    feeds = {"image": rng.uniform(0, 1, (1, 3, 8, 8))}
    expected = {p.name: p.from_board(rng.integers(-90, 90, p.board_shape).astype(np.int8)) for p in OUTPUTS}
    stem = f"n6_{network}"
    limits = [Tolerance(3, 9), Tolerance(1, 3)]
    return {
        f"{stem}.h": interface_header(stem, INPUTS, OUTPUTS, None),
        f"{stem}.c": interface_source(stem, INPUTS, OUTPUTS),
        f"{stem}_selftest.h": selftest_header(stem, INPUTS, OUTPUTS, "noise", limits),
        f"{stem}_selftest.c": selftest_source(stem, INPUTS, OUTPUTS, feeds, expected),
        f"stai_{network}.h": stai_header(network, [p.size for p in INPUTS], [p.size for p in OUTPUTS]),
        **runtime_sources(stem, network, INPUTS, OUTPUTS, version=VERSIONS[core], allocated=allocated),
    }


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("core", VERSIONS)
def test_compiles_without_a_warning(compiler, core, tmp_path):
    for number, allocated in enumerate([(True, True), (False, False), (False, True), (True, False)]):
        folder = tmp_path / str(number)
        folder.mkdir()
        compile_objects(compiler, folder, package(core, allocated), core=core)


def linked(folder, core, allocated=(True, True)):
    """The package and the host's runtime as a library."""
    return shared_object(folder, package(core, allocated) | {"runtime.c": (STUBS / "runtime.c").read_text()}, core=core)


def verdict(library, capfd):
    passed = library.n6_net_selftest_run()
    ctypes.CDLL(None).fflush(None)
    return passed, capfd.readouterr().out.strip()


def events(library):
    return ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "events"))).decode()


@pytest.mark.parametrize("core", VERSIONS)
def test_the_selftest_says_pass_or_how_far_off(core, tmp_path, capfd):
    library = linked(tmp_path, core)
    assert library.n6_net_init() == 0
    assert verdict(library, capfd) == (1, "n6_net self-test: PASS 2/2, worst 0 steps in boxes")
    wrong = ctypes.c_int.in_dll(library, "wrong_by")
    wrong.value = 1
    assert verdict(library, capfd) == (1, "n6_net self-test: PASS 2/2, worst 1 steps in scores")
    wrong.value = -9
    assert verdict(library, capfd) == (0, "n6_net self-test: FAIL 1/2, worst 9 steps in scores")
    seen = events(library).replace("B", "")
    turn = "ccc" + ("wR" if core == 4 else "R") + "ii"
    assert seen == turn * 3, "caches: cleaned before the NPU reads, forgotten before the CPU reads"


def test_a_runtime_that_fails_is_told(tmp_path, capfd):
    library = linked(tmp_path, 4)
    assert library.n6_net_init() == 0
    ctypes.c_int.in_dll(library, "fails").value = 1
    assert verdict(library, capfd) == (0, "n6_net self-test: FAIL, the runtime returned 131072")


def test_the_second_network_does_not_begin_the_runtime_again(tmp_path):
    library = linked(tmp_path, 4)
    assert library.n6_net_init_beside() == 0x20000, "nobody began it"
    assert library.n6_net_init() == 0
    assert library.n6_net_init_beside() == 0
    assert events(library) == "B"


def test_another_network_is_refused(tmp_path):
    library = linked(tmp_path, 2)
    ctypes.c_int.in_dll(library, "wrong_size").value = 4
    assert library.n6_net_init() == -1000
    sources = package(4) | {"stai_net.h": stai_header("net", [p.size for p in INPUTS], [p.size + 1 for p in OUTPUTS])}
    folder = tmp_path / "other"
    folder.mkdir()
    compile_objects("gcc", folder, sources, core=4)  # a wrong size is found at run time, not by the preprocessor


@pytest.mark.parametrize("core", VERSIONS)
def test_buffers_of_the_application(core, tmp_path, capfd):
    library = linked(tmp_path, core, allocated=(False, False))
    assert library.n6_net_init() == 0
    kept = [np.zeros(4096 + 32, np.uint8) for _ in range(3)]
    places = [b.ctypes.data + -b.ctypes.data % 32 for b in kept]
    assert library.n6_net_set_input(0, ctypes.c_void_p(places[0] + 4)) == -1, "not on a cache line"
    assert library.n6_net_set_input(1, ctypes.c_void_p(places[0])) == -1, "there is one input"
    assert library.n6_net_set_input(0, ctypes.c_void_p(places[0])) == 0
    for index in (0, 1):
        assert library.n6_net_set_output(index, ctypes.c_void_p(places[1 + index])) == 0
    assert verdict(library, capfd)[0] == 1
    found = np.frombuffer(ctypes.string_at(places[2], OUTPUTS[1].size), np.int8)
    stored = (ctypes.c_int8 * OUTPUTS[1].elements).in_dll(library, "n6_net_selftest_output_1")
    np.testing.assert_array_equal(found, np.array(stored))


def test_a_cpp_application_links_both(tmp_path):
    """Two packages' objects from a C compiler, called from C++."""
    objects = []
    for network in ("net", "other"):
        folder = tmp_path / network
        folder.mkdir()
        wanted = {name: text for name, text in package(4, network=network).items() if "_run.c" not in name}
        objects += compile_objects("gcc", folder, wanted)
    lines = [f'#include "{n}/n6_{n}_run.h"\n#include "{n}/n6_{n}_selftest.h"' for n in ("net", "other")]
    body = "return n6_net_selftest_passed(0) + n6_other_selftest_passed(0) + (int)n6_net_inputs[0].size;"
    (tmp_path / "main.cpp").write_text("\n".join([*lines, f"int main() {{ {body} }}", ""]))
    flags = ["-Wall", "-Wextra", "-Werror", "-pedantic", f"-I{tmp_path}", f"-I{tmp_path}/net", f"-I{tmp_path}/other"]
    command = ["g++", *flags, str(tmp_path / "main.cpp"), *map(str, objects), "-o", str(tmp_path / "main")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
