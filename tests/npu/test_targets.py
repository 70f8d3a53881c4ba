"""Targets: names, overrides, sources of every constant, pools of the user."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.errors import RecipeError, SourceError
from n6convert.npu.targets import load_target, targets


def test_every_target_loads_and_is_sourced() -> None:
    for name in targets():
        target = load_target(name)
        assert target.name == name
        assert target.flash_mb_s > 0
        assert all(low < 1 < high for low, high in target.spread.values())
        for constant in target.constants:
            assert target.source(constant), constant
        assert all(kernel.source for kernel in target.kernels.values())


def test_names() -> None:
    assert load_target("STM32N6570-DK@4.0.1-20581").version == (4, 0)
    assert load_target("stm32n6570-dk").name == "stm32n6570-dk@4.0"


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
    assert (kit.clocks.npu, nucleo.clocks.npu) == (1000, 800)
    assert nucleo.flash_mb_s < kit.flash_mb_s
    assert load_target("nucleo-n657x0-q@2.2").flash_mb_s == load_target("stm32n6570-dk@2.2").flash_mb_s
    assert load_target("stm32n6570-dk@2.2").depthwise_inflation == 8 and kit.depthwise_inflation == 1
    assert "hyperRAM" not in {pool.name for pool in nucleo.pools}


def test_pools_of_the_user(neuralart_dir: Path, tmp_path: Path) -> None:
    path = neuralart_dir / "reports/r02_yolov8n_pose_256/stm32n6-app2.mpool"
    pools = {pool.name for pool in load_target("stm32n6570-dk@2.1", pools=path).pools}
    assert "cpuRAM2" not in pools and "npuRAM3" in pools
    with pytest.raises(SourceError):
        load_target("stm32n6570-dk@2.1", pools=tmp_path / "missing.mpool")
