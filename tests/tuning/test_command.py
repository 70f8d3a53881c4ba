"""``n6convert tune``, the recipe's section, and what plugins may bring: through the doors that users take."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("torch")

from n6convert.cli import run
from n6convert.pipeline import preflight

SHORT = ["--weights", "seeded", "--samples", "12", "--steps", "4"]


def report(folder: str = "build/toy-untrained") -> dict:
    return json.loads((Path(folder) / "report.json").read_text())


def test_it_converts_and_trains(toy: Path) -> None:
    assert run(["tune", "toy", *SHORT]) == 0
    found = report()
    assert found["tuning"]["steps"] == 4 and found["tuning"]["agreement"][0]["differing"] == 0
    assert [stage["name"] for stage in found["stages"]][3:6] == ["quantize", "tune", "lint"]
    assert "<h2>Tuning</h2>" in Path("build/toy-untrained/report.html").read_text()
    assert run(["toy", "--weights", "seeded", "--samples", "12", "-o", "plain"]) == 0
    plain = report("plain")
    assert not plain["tuning"] and "tune" not in [s["name"] for s in plain["stages"]]
    assert plain["placement"]["after"]["epochs"] == found["placement"]["after"]["epochs"]


def test_a_finished_training_comes_from_the_cache(toy: Path, tmp_path: Path) -> None:
    assert run(["tune", "toy", *SHORT]) == 0
    assert run(["tune", "toy", *SHORT]) == 0
    assert {s["name"]: s["cached"] for s in report()["stages"]}["tune"]
    assert not list((tmp_path / "cache" / "tune").glob("*"))


def test_without_torch_the_command_that_installs_it_is_said(
    toy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    assert run(["tune", "toy", *SHORT]) == 1
    error = capsys.readouterr().err
    assert 'pip install "n6convert[tune]"' in error and "Traceback" not in error
    assert not Path("build").exists()


def test_four_bits_are_refused_where_the_core_has_none(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["tune", "toy", *SHORT, "--weight-bits", "int4", "--target", "stm32n6570-dk@2.1"]
    assert run(words) == 2
    assert "core 3.0 and later" in capsys.readouterr().err


def test_too_few_samples_end_with_a_message(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", "toy", "--weights", "seeded", "--samples", "5", "--set", "calibration.held_back=1"]) == 1
    assert "too few samples to train on" in capsys.readouterr().err


BRIGHT = """
from dataclasses import replace
from n6_toy import Noise, Toy

class Labeled(Noise):
    def __iter__(self):
        return (replace(s, label=0.5) for s in super().__iter__())

class Bright(Toy):
    def samples(self):
        return Labeled()

    def augment(self, sample, draw):
        return replace(sample, data={"x": sample.data["x"] * draw.choice([-1, 1]).astype("f4")})

    def training_loss(self, outputs, sample):
        open("losses.log", "a").write(f"{sample.label}\\n")
        return (outputs["y"].mean() - sample.label).square()

class Wrong(Bright):
    def training_loss(self, outputs, sample):
        return 1 / 0
"""


@pytest.fixture
def bright(toy: Path, distribution: Callable[..., None]) -> None:
    entries = {"bright": "n6_bright:Bright", "wrong": "n6_bright:Wrong"}
    distribution("n6-bright", entries, {"n6_bright.py": BRIGHT})


def test_a_plugin_brings_a_loss_and_other_samples(bright: None) -> None:
    assert run(["tune", "bright", *SHORT, "--set", "tune.task_weight=1"]) == 0
    losses = Path("losses.log").read_text().split()
    assert set(losses) == {"0.5"} and len(losses) >= 16
    Path("losses.log").unlink()
    assert run(["tune", "bright", *SHORT, "-o", "unlabeled"]) == 0
    assert not Path("losses.log").exists()


def test_a_loss_that_fails_names_its_plugin(bright: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tune", "wrong", *SHORT, "--set", "tune.task_weight=1"]) == 1
    error = capsys.readouterr().err
    assert "training_loss" in error and "n6-bright" in error and "Traceback" not in error
