"""Defaults of a project: which file counts, what is stronger, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from n6convert.api import make_draft
from n6convert.cli.entry import run
from n6convert.errors import RecipeError
from n6convert.recipe.checking import finish
from n6convert.recipe.project import default_target, project_file, read_project

OWN = """
target = "stm32n6570-dk@3.0"
[calibration]
source = "images"
samples = 9
[models.toy]
weights = "best.bin"
options = { channels = 6 }
[models.toy.calibration]
samples = 5
"""


@pytest.fixture
def project(toy: Path) -> Path:
    (toy / ".git").mkdir()
    (toy / "n6convert.toml").write_text(OWN)
    (toy / "best.bin").write_bytes(b"12")
    (toy / "deep" / "er").mkdir(parents=True)
    return toy


def test_defaults_hold_below_the_file_and_yield_to_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(project / "deep" / "er")
    recipe = finish(make_draft("toy"))
    assert recipe.target == "stm32n6570-dk@3.0" and recipe.options == {"channels": 6}
    assert (recipe.calibration.samples, recipe.calibration.source) == (5, str(project / "images"))
    assert recipe.weights == str(project / "best.bin")
    assert run(["recipe", "toy", "--target", "stm32n6570-dk@2.1", "--set", "calibration.samples=7"]) == 0
    shown = capsys.readouterr().out
    assert "stm32n6570-dk@2.1" in shown and "samples: 7" in shown and "channels: 6" in shown
    (project / "deep" / "mine.yaml").write_text("model: toy\ntarget: stm32n6570-dk@4.0\n")
    by_recipe = finish(make_draft(project / "deep" / "mine.yaml"))
    assert (by_recipe.target, by_recipe.calibration.samples) == ("stm32n6570-dk@4.0", 5)


def test_the_example_of_the_page_counts_over_the_ready_recipe_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("n6convert_yolov8")
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    (tmp_path / "n6convert.toml").write_text(page.split("```toml\n")[1].split("```")[0])
    (tmp_path / "mine.yaml").write_text("model: yolov8n\noptions: {imgsz: 320}\n")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "best.pt").write_bytes(b"12")
    monkeypatch.chdir(tmp_path)
    recipe = finish(make_draft("yolov8n"))
    assert (recipe.weights, recipe.options["imgsz"]) == (str(tmp_path / "runs" / "best.pt"), 256)
    assert recipe.acceptance.max_drop == 1.0
    assert finish(make_draft("mine.yaml")).options["imgsz"] == 320, "a recipe of the user's own is stronger"
    named = finish(make_draft("yolov8n-pose-192"))
    assert (named.options["imgsz"], named.calibration.source) == (192, str(tmp_path / "images"))


def test_the_variable_is_stronger_than_the_file(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    assert default_target() == "stm32n6570-dk@3.0"
    monkeypatch.setenv("N6CONVERT_TARGET", "stm32n6570-dk@2.2")
    assert default_target() == finish(make_draft("toy")).target == "stm32n6570-dk@2.2"
    monkeypatch.setenv("N6CONVERT_TARGET", "stm32n6570")
    assert run(["explain", "Conv"]) == 2


def test_pyproject_counts_where_it_has_a_table(toy: Path) -> None:
    (toy / ".git").mkdir()
    (toy / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert project_file() is None
    (toy / "pyproject.toml").write_text("[tool.n6convert]\nseed = 7\n")
    assert finish(make_draft("toy")).seed == 7
    (toy / "pyproject.toml").write_text("[tool.n6convert\n")
    assert project_file() is None, "a damaged file of somebody else's says nothing"


def test_the_search_ends_at_the_checkout(project: Path) -> None:
    inner = project / "deep" / "er"
    (inner / ".git").mkdir()
    assert project_file(inner) is None and project_file(inner.parent) == project / "n6convert.toml"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("target = ", "no TOML"),
        ("model = 'yolov8n'", "no key `model`"),
        ("[options]\nimgsz = 3", "no key `options`"),
        ("models = 3", "a table for each model"),
    ],
)
def test_what_a_project_cannot_say(toy: Path, text: str, words: str) -> None:
    (toy / "n6convert.toml").write_text(text)
    with pytest.raises(RecipeError, match=words) as caught:
        read_project("toy")
    assert "n6convert.toml" in str(caught.value.place)


def test_a_wrong_key_is_named_with_its_file(toy: Path) -> None:
    (toy / "n6convert.toml").write_text("[calibration]\nsampels = 3\n")
    with pytest.raises(RecipeError, match="sampels") as caught:
        finish(make_draft("toy"))
    assert "n6convert.toml: calibration.sampels" in str(caught.value) and "samples" in str(caught.value)


def test_a_sweep_keeps_its_axes_open(toy: Path) -> None:
    (toy / "n6convert.toml").write_text("[models.toy.options]\nchannels = 6\n")
    (toy / "grid.yaml").write_text("model: toy\nsweep:\n  options.channels: [2, 3]\n")
    draft = make_draft(toy / "grid.yaml")
    assert draft.axes == {"options.channels": [2, 3]} and not draft.values.get("options")
