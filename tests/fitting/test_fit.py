"""Several models on one board."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert import convert
from n6convert.cli import run
from n6convert.errors import SourceError
from n6convert.fitting import Resident, advise, plan, with_unique_names
from n6convert.fitting.page import write_page
from n6convert.npu.targets import load_target
from n6convert.package.flash import ERASE_BLOCK, blocks
from n6convert.report.schema import PartialReport

MIB = 1 << 20
BOARD, SMALL = load_target("stm32n6570-dk@4.0").pools, load_target("nucleo-n657x0-q@4.0").pools
ON_CHIP = sum(pool.size for pool in SMALL if pool.writable)
ONE = Resident("detector", "b", {"npuRAM5": 400_000, "npuRAM4": 300_000}, 50_000, 3 * MIB, 16.0, 14.0, 19.0)
TWO = Resident("text", "b", {"npuRAM5": 450_000}, 1_000, 1 * MIB + 5, 8.0, 7.0, 10.0)
OUTSIDE = {"cpuRAM2": MIB, "hyperRAM": 900_000}
HUGE = Resident("huge", "b", OUTSIDE, 0, MIB, 50.0, 40.0, 90.0, inputs=((1, 3, 640, 640),))


def test_a_pool_holds_the_largest_arena_and_results_wait_beside_it():
    found = plan([ONE, TWO], BOARD)
    used = {pool.name: pool.used for pool in found.pools if pool.used}
    assert used == {"npuRAM5": 450_000, "npuRAM4": 300_000, "cpuRAM2": 50_000}
    assert [(k.name, k.size, k.pool) for k in found.kept] == [("detector", 50_000, "cpuRAM2")]
    assert (found.shared, found.separate, found.external) == (700_000, 1_150_000, 0)
    assert found.milliseconds == (24.0, 21.0, 29.0)
    assert found.fits
    assert advise(found, BOARD) == []


def typed(content: dict[str, Any]) -> PartialReport:
    common = {"n6convert": "0", "name": "x", "weights": {"origin": "x"}}
    return PartialReport.model_validate(common | content)


def test_tables_beside_the_weights_are_counted_in_flash():
    memory = {"weights": 10, "tables": 5, "activations": 0, "missing": 0, "pools": [], "fits": True}
    report = {
        "model": "text", "target": "b", "memory": memory, "latency": {"milliseconds": 1, "low": 1, "high": 1},
        "recipe": {}, "stages": [],
    }  # fmt: skip
    assert Resident.of(typed(report)).weights == 15
    assert Resident.of(typed(report | {"memory": {**memory, "tables": None}})).weights == 10


sizes = st.integers(0, 500_000)


@given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=5))
def test_no_turn_needs_more_than_a_pool_has_and_waiting_results_never_meet_an_arena(drawn):
    models = [
        replace(ONE, name=str(i), arena={"npuRAM5": min(arena, 458_752), "cpuRAM2": arena}, results=results)
        for i, (arena, results) in enumerate(drawn)
    ]
    found = plan(models, SMALL)
    for pool in found.pools:
        waiting = [[k.size for k in found.kept if k.pool == pool.name and k.turn < turn] for turn in range(len(models))]
        assert tuple(map(sum, waiting)) == pool.kept
        assert pool.used <= pool.size
    assert sum(k.size for k in found.kept) == sum(results for _, results in drawn[:-1])


def test_weights_lie_side_by_side_on_erase_blocks():
    first, second = plan([ONE, TWO], BOARD).flash
    assert first.start == 0x71000000
    assert second.start == first.end
    assert all(region.start % ERASE_BLOCK == 0 for region in (first, second))
    assert second.size >= second.weights >= TWO.weights * 17 / 16
    words = replace(TWO, weights=TWO.weights + 70_000, tables={"words.bin": 65_536, "norm.bin": 4_464})
    (_, region) = plan([ONE, words], BOARD).flash
    assert region.weights == second.weights, "tables leave the weights' own bytes alone"
    assert region.size == region.weights + 2 * ERASE_BLOCK, "each table has blocks of its own"


def test_external_ram_is_a_place_with_a_price_and_the_remedy_is_a_smaller_input():
    found = plan([HUGE, TWO], BOARD)
    assert (found.fits, found.external) == (True, 900_000)
    (text,) = advise(found, BOARD)
    assert "a multiple of the time" in text
    assert "544 x 544 instead of 640 x 640, at most 76 %" in text


def test_a_model_without_a_place_does_not_fit():
    lost = replace(HUGE, arena={"cpuRAM2": MIB}, missing=900_000)
    found = plan([lost, TWO], SMALL)
    assert not found.fits
    assert found.shared == MIB + 900_000, "what finds no place is asked for all the same"
    assert "find no place" in advise(found, SMALL)[0]


def test_results_without_a_place_name_the_order_that_fits():
    full = replace(TWO, name="full", arena={p.name: p.size for p in SMALL if p.writable}, results=0)
    found = plan([ONE, full], SMALL)
    assert (found.fits, found.missing) == (False, 50_000)
    assert advise(found, SMALL) == [
        "detector: 49 KiB of results find no place",
        "run them in this order: full, detector",
        "read the results of detector before the next model runs: then everything fits",
    ]
    assert plan([full, ONE], SMALL).fits


def test_too_many_weights_say_how_many_and_what_could_go():
    found = plan([replace(ONE, weights=100 * MIB), replace(TWO, weights=20 * MIB)], BOARD)
    assert not found.fits
    (text,) = advise(found, BOARD)
    over = sum(blocks(size * MIB + size * MIB // 16) for size in (100, 20)) - 112 * MIB
    assert text == f"the weights need {over // 1024:,} KiB more flash than the board has; without text the rest fits"


def test_one_name_twice_is_told_apart():
    assert [r.name for r in with_unique_names([ONE, TWO, ONE])] == ["detector #1", "text", "detector #2"]


def test_page_and_facts(tmp_path):
    found = plan([HUGE, ONE, TWO], BOARD)
    write_page(tmp_path / "fit.html", found, "stm32n6570-dk@4.0", advise(found, BOARD))
    text = (tmp_path / "fit.html").read_text()
    assert "huge + detector + text: fit together, with 879 KiB in external RAM" in text
    assert "0x71000000" in text
    assert "results of detector wait: 49 KiB in cpuRAM2" in text
    facts = json.loads(json.dumps(found.facts()))
    assert facts["frame"]["milliseconds"] == 74.0
    assert facts["flash"]["map"][1]["name"] == "detector"


def test_a_report_without_prediction_is_refused():
    with pytest.raises(SourceError, match="no predicted memory"):
        Resident.of(typed({"model": "x", "target": "b"}))


def test_models_by_name_are_converted_anew_on_request(toy, monkeypatch):
    from n6convert.fitting import cascade

    asked = []
    monkeypatch.setattr(cascade, "convert", lambda *a, **k: asked.append(k["cache"]) or convert(*a, **k))
    for more in ([], ["--no-cache"]):
        assert run(["fit", "toy", "toy", "--quiet", *more]) == 0
    assert asked == [True, True, False, False]


def test_runs_on_the_command_line(toy, capsys):
    for name, target in (("one", "stm32n6570-dk@4.0"), ("two", "stm32n6570-dk@4.0"), ("other", "nucleo-n657x0-q@4.0")):
        convert("toy", weights="seeded", output=name, target=target)
    assert run(["fit", "one", "two", "--json", "--output", "fit.html"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["fits"] and facts["advice"] == []
    assert facts["models"][0]["name"] == "toy #1"
    assert facts["models"][0]["results"] == 2 * 8 * 8
    assert facts["activations"]["separate"] == 2 * facts["models"][0]["activations"]
    assert run(["fit", "one", "other"]) == 2
    shown = capsys.readouterr().err
    assert "different boards" in shown and "--target stm32n6570-dk@4.0" in shown
