"""Boards with a compiler: what is derived of one another, and what cannot be a board."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from n6convert.errors import N6ConvertError, RecipeError
from n6convert.npu.targets import load_target

BOARD = load_target("stm32n6570-dk@4.0")


def test_its_name_leads_back_to_it() -> None:
    assert load_target(BOARD.name) == BOARD
    switched = load_target(f"{BOARD.name}+expand-softmax")
    assert (switched.compiler, switched.switches) == ("4.0+expand-softmax", ("expand-softmax",))
    assert load_target(switched.name) == switched != BOARD


@pytest.mark.parametrize(("cpu", "npu"), [(600, 800), (400, 400), (800, 1000), (1, 1)])
def test_memory_and_bus_keep_their_ratio_to_the_npu(cpu: int, npu: int) -> None:
    found, before = BOARD.with_clocks(cpu, npu).clocks, BOARD.clocks
    assert (found.cpu, found.npu) == (cpu, npu)
    for now, then in ((found.npu_ram, before.npu_ram), (found.axi, before.axi)):
        assert abs(now - then * npu / before.npu) <= 0.5
    assert BOARD.with_clocks(cpu, npu).with_clocks(before.cpu, before.npu).clocks.npu == before.npu


def test_its_own_clocks_change_nothing() -> None:
    assert BOARD.with_clocks(BOARD.clocks.cpu, BOARD.clocks.npu) == BOARD


@pytest.mark.parametrize("clocks", [(0, 800), (600, 0), (-1, 800), (600, -800)])
def test_clocks_that_stand_still_are_refused(clocks: tuple[int, int]) -> None:
    with pytest.raises(RecipeError, match=rf"(?s)positive.*MHz.*{clocks[0]}/{clocks[1]}"):
        BOARD.with_clocks(*clocks)


@pytest.mark.parametrize("rate", [0, -1, math.nan, -math.inf])
def test_a_flash_that_gives_nothing_is_refused(rate: float) -> None:
    with pytest.raises(RecipeError, match=r"(?s)rate of the flash.*MB/s"):
        BOARD.with_flash(rate)


def test_a_change_leaves_the_rest_as_it_was() -> None:
    faster = BOARD.with_flash(BOARD.flash_mb_s * 2)
    assert faster.flash_mb_s == 2 * BOARD.flash_mb_s
    assert faster.with_flash(BOARD.flash_mb_s) == BOARD
    assert not BOARD.with_epoch_controller(False).epoch_controller
    assert BOARD.with_epoch_controller(BOARD.epoch_controller) == BOARD


@pytest.mark.parametrize(
    ("board", "label"),
    [("stm32n6570-dk", "stm32n6570-dk"), ("/a b/c.d/own.yaml", "own"), ("own.yml", "own"), ("v1.2", "v1.2")],
)
def test_the_label_of_a_board_is_short(board: str, label: str) -> None:
    from dataclasses import replace

    assert replace(BOARD, board=board).label == label


def test_every_constant_and_kernel_says_where_it_comes_from() -> None:
    assert all(BOARD.source(name) for name in BOARD.constants)
    assert all(kernel.source and kernel.cycles >= 0 for kernel in BOARD.kernels.values())
    assert {kernel.unit for kernel in BOARD.kernels.values()} <= {"element", "byte", "mac"}
    with pytest.raises(KeyError):
        BOARD.source("hardware_epoch.nothing")


def test_a_pool_file_replaces_the_pools_only(tmp_path: Path) -> None:
    with pytest.raises(N6ConvertError) as caught:
        BOARD.with_pools(tmp_path / "none.mpool")
    assert "none.mpool" in str(caught.value)
