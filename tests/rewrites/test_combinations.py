"""The combinations of [#combinations] side by side: each leaves less on the CPU."""

from __future__ import annotations

import json

import onnx_ir as ir
import pytest
from typer.testing import CliRunner

from n6convert.rewrites.combinations import compare_combinations

from .graphs import bert
from .helpers import OLD


@pytest.fixture(scope="module")
def model() -> ir.Model:
    return bert()


def test_every_combination_leaves_less_software(model):
    rows = compare_combinations(model, OLD)
    assert [row.name for row in rows] == ["A", "B", "C", "D"]
    software = [row.sw for row in rows]
    assert software == sorted(software, reverse=True)
    assert software[0] > software[-1] == 0
    assert all(row.low <= row.milliseconds <= row.high for row in rows)


def test_on_the_command_line(model, tmp_path):
    from n6convert.cli import app

    ir.save(model, tmp_path / "bert.onnx")
    done = CliRunner().invoke(
        app, ["estimate", str(tmp_path / "bert.onnx"), "--target", OLD, "--combinations", "--json"]
    )
    assert done.exit_code == 0, done.output
    assert [row["name"] for row in json.loads(done.stdout)] == ["A", "B", "C", "D"]
