"""Targets: names, overrides, sources of every constant, pools of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.errors import N6ConvertError, PluginError, RecipeError, SourceError
from n6convert.npu.targets import load_target, targets


def test_every_target_loads_and_is_sourced() -> None:
    for name in targets():
        target = load_target(name)
        assert target.name == name
        assert target.flash_mb_s > 0
        assert target.unmeasured >= 0
        for constant in target.constants:
            assert target.source(constant), constant
        assert all(kernel.source for kernel in target.kernels.values())


def test_names() -> None:
    assert load_target("STM32N6570-DK@4.0.1-20581").version == (4, 0)
    assert load_target("stm32n6570-dk").name == "stm32n6570-dk@4.0"
    assert load_target("2.1").name == load_target(" 2.1.0-20194 ").name == "stm32n6570-dk@2.1"
    assert load_target("stm32n6570-dk@4.1").version == (4, 1)


def test_the_other_family_says_what_nobody_knows() -> None:
    target = load_target("stm32h7p")
    assert (target.name, target.series) == ("stm32h7p@4.1", "stm32h7p")
    assert (target.clocks.cpu, target.clocks.npu) == (550, 550)
    assert any("memory map" in line for line in target.unknown) and any("4.1" in line for line in target.unknown)
    kit = load_target("stm32n6570-dk@4.0")
    assert (kit.unknown, kit.unmeasured) == ((), 0) and target.unmeasured > 0.5
    with pytest.raises(RecipeError, match="unknown target") as caught:
        load_target("stm32h7p@4.0")
    assert "4.1" in str(caught.value)


def test_a_board_of_the_user(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: nucleo-n657x0-q\ndescription: mine\nclocks: {cpu: 600, npu: 800}\nflash_mb_s: 200\n")
    target = load_target(f"{path}@3.0")
    assert (target.clocks.cpu, target.clocks.npu, target.clocks.npu_ram) == (600, 800, 720)
    assert (target.flash_mb_s, target.hyperram_mb_s, target.version) == (200, 78, (3, 0))
    assert target.pools == load_target("nucleo-n657x0-q@3.0").pools
    assert load_target(target.name) == target
    assert (target.label, load_target("stm32n6570-dk").label) == ("mine", "stm32n6570-dk")
    (tmp_path / "child.yml").write_text("extends: mine.yaml\nflash_mb_s: 300\ncores: ['2.2']\n")
    child = load_target(str(tmp_path / "child.yml"))
    assert (child.flash_mb_s, child.clocks.npu, child.version) == (300, 800, (2, 2))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("extends: nobody", "unknown board"),
        ("description: x", "lacks keys"),
        ("extends: stm32n6570-dk\nspeed: 1", "unknown keys"),
        ("extends: bad.yaml", "circle"),
        ("extends: stm32n6570-dk\nflash_mb_s: -3", "not positive"),
        ("extends: stm32n6570-dk\nclocks: fast", "wrong entry"),
        ("extends: stm32n6570-dk\nclocks: {cpu: 600}", "wrong entry"),
        ("extends: stm32n6570-dk\ncores: ['9.9']", "`cores`"),
        ("extends: stm32n6570-dk\npools: [{name: a}]", "wrong entry"),
        ("- a", "no table"),
        ("a: [", "no YAML"),
    ],
)
def test_damaged_board_files(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(N6ConvertError) as caught:
        load_target(str(path))
    assert words in str(caught.value) and "bad.yaml" in str(caught.value)


def test_missing_board_file() -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        load_target("nowhere/board.yaml@4.0")


def test_a_board_of_another_distribution(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "theirs.yaml"
    path.write_text("extends: stm32n6570-dk\nflash_mb_s: 111\n")

    class Entry:
        def __init__(self, name: str, value: str) -> None:
            self.name, self.value = name, value

        def load(self) -> str:
            if self.value == "broken":
                raise ImportError("no such module")
            return self.value

    entries = [Entry("their-board", str(path)), Entry("broken-board", "broken")]
    monkeypatch.setattr("n6convert.npu.targets.data.metadata.entry_points", lambda group: entries)
    assert load_target("their-board@2.2").flash_mb_s == 111
    with pytest.raises(PluginError, match="cannot be loaded"):
        load_target("broken-board")


def test_clocks_and_flash_of_the_user() -> None:
    slow = load_target("stm32n6570-dk@4.0").with_clocks(600, 800).with_flash(100)
    assert (slow.clocks.cpu, slow.clocks.npu, slow.clocks.npu_ram, slow.flash_mb_s) == (600, 800, 720, 100)
    for wrong in (lambda t: t.with_clocks(0, 800), lambda t: t.with_flash(0)):
        with pytest.raises(RecipeError):
            wrong(slow)


@pytest.mark.parametrize("spec", ["stm32n6570-dk@9.9", "stm32n6570", "", "a b", "@3.0", "stm32n6570-dk@three"])
def test_unknown_names(spec: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load_target(spec)
    assert "stm32n6570-dk" in str(caught.value) and caught.value.exit_code == 2


def test_switches_belong_to_the_compilers_that_have_them() -> None:
    target = load_target("stm32n6570-dk@4.0.1+expand-softmax")
    assert (target.switches, target.name) == (("expand-softmax",), "stm32n6570-dk@4.0+expand-softmax")
    assert load_target(target.name) == target and load_target("stm32n6570-dk@4.0").switches == ()
    with pytest.raises(RecipeError, match="core 2.1 has no compiler switch --expand-softmax") as caught:
        load_target("nucleo-n657x0-q@2.1+expand-softmax")
    assert "core 4.0" in str(caught.value) and "nucleo-n657x0-q@4.0" in str(caught.value)
    with pytest.raises(RecipeError, match="no compiler switch --explode"):
        load_target("stm32n6570-dk@4.0+explode")


def test_nearest_name() -> None:
    with pytest.raises(RecipeError, match="nucleo-n657x0-q@3.0"):
        load_target("nucleo-n657x0@3.0")


def test_boards_and_versions_differ_where_measured() -> None:
    kit, nucleo = load_target("stm32n6570-dk@4.0"), load_target("nucleo-n657x0-q@4.0")
    template = load_target("nucleo-n657x0-q-aistudio@4.0")
    assert (kit.clocks.npu, nucleo.clocks.npu, template.clocks.npu) == (1000, 1000, 800)
    assert template.flash_mb_s < nucleo.flash_mb_s == kit.flash_mb_s
    assert kit.hyperram_mb_s == 78
    assert load_target("nucleo-n657x0-q@2.2").flash_mb_s == load_target("stm32n6570-dk@2.2").flash_mb_s
    assert not load_target("stm32n6570-dk@2.2").has("true_depthwise") and kit.has("true_depthwise")
    assert "hyperRAM" not in {pool.name for pool in nucleo.pools}


def test_pools_of_the_user(neuralart_dir: Path, tmp_path: Path) -> None:
    path = neuralart_dir / "reports/r02_yolov8n_pose_256/stm32n6-app2.mpool"
    pools = {pool.name for pool in load_target("stm32n6570-dk@2.1", pools=path).pools}
    assert "cpuRAM2" not in pools and "npuRAM3" in pools
    with pytest.raises(SourceError):
        load_target("stm32n6570-dk@2.1", pools=tmp_path / "missing.mpool")
