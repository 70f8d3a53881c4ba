"""Several models on one board."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from n6convert.errors import SourceError
from n6convert.fit import Resident, plan
from n6convert.fit.page import write_page
from n6convert.fit.plan import ERASE_BLOCK

MIB = 1 << 20
ONE = Resident("detector", 700_000, 3 * MIB, 16.0, 14.0, 19.0)
TWO = Resident("text", 200_000, 1 * MIB + 5, 8.0, 7.0, 10.0)


def together(*residents, on_chip=2_883_584, flash=8 * MIB):
    return plan(residents, on_chip=on_chip, flash_start=0x71000000, flash_size=flash)


def test_models_that_take_turns_share_buffers():
    found = together(ONE, TWO)
    assert (found.shared, found.separate) == (700_000, 900_000)
    assert found.milliseconds == (24.0, 21.0, 29.0)
    assert found.fits


def test_weights_lie_side_by_side_on_erase_blocks():
    first, second = together(ONE, TWO).flash
    assert first.start == 0x71000000
    assert second.start == first.end
    assert all(region.start % ERASE_BLOCK == 0 for region in (first, second))
    assert second.end - second.start >= TWO.weights


@pytest.mark.parametrize("tight", [{"on_chip": 699_999}, {"flash": 4 * MIB}])
def test_what_does_not_fit(tight):
    assert not together(ONE, TWO, **tight).fits


def test_page_and_facts(tmp_path):
    found = together(ONE, TWO)
    write_page(tmp_path / "fit.html", found, "stm32n6570-dk@4.0")
    text = (tmp_path / "fit.html").read_text()
    assert "detector + text: fit together" in text
    assert "0x71000000" in text
    facts = json.loads(json.dumps(found.facts()))
    assert facts["frame"]["milliseconds"] == 24.0
    assert facts["flash"]["map"][1]["name"] == "text"


def test_a_report_without_prediction_is_refused():
    with pytest.raises(SourceError, match="no predicted memory"):
        Resident.of({"model": "x", "memory": None, "latency": None})


def test_two_runs_on_the_command_line(toy):
    import typer

    from n6convert import convert
    from n6convert.fit.cli import register

    for name in ("one", "two"):
        convert("toy", weights="seeded", output=name)
    app = typer.Typer()
    app.callback()(lambda: None)
    register(app)
    done = CliRunner().invoke(app, ["fit", "one", "two", "--json", "--output", "fit.html"])
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["fits"]
    assert facts["activations"]["separate"] == 2 * facts["activations"]["shared"]
