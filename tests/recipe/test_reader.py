"""Recipes: lines, nearest names, one level of extends, settings, names, schema."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest
import yaml

from n6convert.api import effective_recipe, make_draft
from n6convert.errors import RecipeError, SourceError, UsageError
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import Draft, draft_of_model, parse_setting
from n6convert.recipe.reader import draft_of_file, recipe_files
from n6convert.recipe.schema import Recipe
from n6convert.recipe.writing import recipe_schema, to_yaml
from n6convert.registry import list_models

ROOT = Path(__file__).resolve().parents[2]


def write(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def complaint(path: Path) -> str:
    with pytest.raises(RecipeError) as caught:
        finish(draft_of_file(path))
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_unknown_key_names_line_nearest_and_allowed(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
        model: yolov8n
        quantization:
          rangs: mse
        """,
    )
    text = complaint(path)
    assert f"{path}:3" in text
    assert "unknown key `quantization.rangs`" in text
    assert "did you mean ranges" in text
    assert "percentile" in text


def test_key_in_the_wrong_section_is_pointed_to_the_right_one(tmp_path: Path) -> None:
    assert "calibration.samples" in complaint(write(tmp_path, "model: yolov8n\nsamples: 3\n"))


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("quantization: {ranges: mmse}", "one of minmax"),
        ("quantization: {percentile: 200}", "<= 100"),
        ("calibration: {samples: 0}", "a whole number >= 1"),
        ("calibration: {samples: many}", "a whole number >= 1"),
        ("simplify: {time_limit: 0}", "a number > 0"),
        ("simplify: {onnxsim: perhaps}", "true or false"),
        ("package: {profiles: 3}", "a list, each text"),
        ("calibration: 64", "a section"),
    ],
)
def test_wrong_value_names_line_allowed_and_found(tmp_path: Path, line: str, allowed: str) -> None:
    path = write(tmp_path, f"model: yolov8n\n{line}\n")
    text = complaint(path)
    assert f"{path}:2" in text and allowed in text and "found" in text


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    text = complaint(write(tmp_path, "model: yolov8n\nseed: -1\nmodle: x\n"))
    assert "2 mistakes" in text and "mine.yaml:2" in text and "mine.yaml:3" in text


def test_union_is_one_complaint(tmp_path: Path) -> None:
    text = complaint(write(tmp_path, "model: yolov8n\nrewrite: {rules: 7}\n"))
    assert text.count("rewrite.rules") == 1 and "auto" in text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("model: [", "not valid YAML"),
        ("- model", "YAML mapping"),
        ("", "YAML mapping"),
        ("model: a\nmodel: b\n", "written twice"),
        ("seed: 3\n", "names no model"),
        ("model: &x [*x]\n", "wrong value"),
        ("extends: [a]\n", "must be text"),
        ("model: a\n1: b\n", "a key must be text"),
    ],
)
def test_broken_files(tmp_path: Path, text: str, problem: str) -> None:
    assert problem in complaint(write(tmp_path, text))


def test_file_that_is_not_text_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    for wrong in (path, tmp_path / "absent.yaml"):
        with pytest.raises(SourceError, match="cannot be read"):
            draft_of_file(wrong)


def test_extends_overlays_sections_and_replaces_lists(tmp_path: Path) -> None:
    write(tmp_path, "model: m\nquantization: {ranges: mse, percentile: 99}\nrewrite: {exclude: [a, b]}\n", "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nquantization: {percentile: 98}\nrewrite: {exclude: [c]}\n")
    recipe = finish(draft_of_file(path))
    assert (recipe.quantization.ranges, recipe.quantization.percentile) == ("mse", 98)
    assert recipe.rewrite.exclude == ["c"]


def test_mistake_in_the_base_names_the_base(tmp_path: Path) -> None:
    base = write(tmp_path, "model: m\nsed: 1\n", "base.yaml")
    assert f"{base}:2" in complaint(write(tmp_path, "extends: base.yaml\n"))


def test_extends_is_one_level(tmp_path: Path) -> None:
    write(tmp_path, "model: m\n", "a.yaml")
    write(tmp_path, "extends: a.yaml\n", "b.yaml")
    text = complaint(write(tmp_path, "extends: b.yaml\n"))
    assert "one level" in text and "a.yaml" in text and "mine.yaml:1" in text


def test_missing_base_suggests_a_ready_recipe(tmp_path: Path) -> None:
    text = complaint(write(tmp_path, "seed: 1\nextends: yolov8n-pos\n"))
    assert "mine.yaml:2" in text and "yolov8n-pose" in text


def test_paths_are_relative_to_the_recipe_but_output_is_not(tmp_path: Path) -> None:
    (tmp_path / "w.pt").touch()
    path = write(tmp_path, "model: m\nweights: w.pt\ncalibration: {source: images}\noutput: out\n")
    recipe = finish(draft_of_file(path))
    assert recipe.weights == str(tmp_path / "w.pt")
    assert recipe.calibration.source == str(tmp_path / "images")
    assert recipe.output == "out"


def test_weights_that_are_no_file_stay_a_name(tmp_path: Path) -> None:
    assert finish(draft_of_file(write(tmp_path, "model: m\nweights: pretrained\n"))).weights == "pretrained"


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("a.b=3", ("a", "b"), 3),
        ("a=1e-3", ("a",), "1e-3"),
        ("a=0.5", ("a",), 0.5),
        ("a=[x, y]", ("a",), ["x", "y"]),
        ("a=null", ("a",), None),
        ("a=b=c", ("a",), "b=c"),
    ],
)
def test_settings(text: str, path: tuple[str, ...], value: object) -> None:
    assert parse_setting(text) == (path, value)


@pytest.mark.parametrize("text", ["a", "=3", "a..b=3", "a=[", "a=\t- x: ["])
def test_wrong_settings_name_themselves(text: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_setting(text)
    assert f"--set {text}" in str(caught.value)


def test_setting_gets_the_same_messages_as_a_line() -> None:
    draft = draft_of_model("yolov8n")
    draft.set(("quantization", "rangs"), 1, "--set quantization.rangs=1")
    with pytest.raises(RecipeError) as caught:
        finish(draft)
    assert "--set quantization.rangs=1" in str(caught.value) and "did you mean ranges" in str(caught.value)


def test_ready_recipes_are_valid_and_name_installed_families() -> None:
    files = recipe_files()
    assert {"yolov8n", "yolov8n-256", "yolov8n-pose"} <= set(files)
    for path in files.values():
        assert isinstance(finish(chosen(draft_of_file(path))), Recipe)


def chosen(draft: Draft) -> Draft:
    """The first point, where the recipe is a sweep."""
    for key, values in list(draft.axes.items()):
        draft.set(tuple(key.split(".")), values[0], "chosen")
    return draft


@pytest.mark.parametrize("name", sorted(recipe_files()))
def test_options_of_ready_recipes_are_known_to_their_plugins(name: str) -> None:
    draft = chosen(make_draft(name))
    if draft.values["model"] not in {entry.name for entry in list_models()}:
        pytest.skip(f"the plugin of {draft.values['model']} is not installed")
    assert effective_recipe(draft).model == draft.values["model"]


def test_a_sweep_leaves_keys_open_until_they_are_chosen(tmp_path: Path) -> None:
    write(tmp_path, "model: m\nsweep: {options.imgsz: [64, 96], seed: [0, 1]}\n", "base.yaml")
    path = write(tmp_path, "extends: base.yaml\nseed: 7\nsweep:\n  target: [a, b]\n")
    draft = draft_of_file(path)
    assert draft.axes == {"options.imgsz": [64, 96], "target": ["a", "b"]}
    with pytest.raises(RecipeError, match="is a sweep") as caught:
        finish(draft)
    assert "--set options.imgsz=64" in str(caught.value)
    assert finish(chosen(draft)).options == {"imgsz": 64}


def test_a_text_of_a_wrong_form_is_told_the_form() -> None:
    draft = draft_of_model("toy")
    draft.set(("trust",), "sha256:abc", "--trust")
    with pytest.raises(RecipeError, match="wrong value for `trust`") as caught:
        finish(draft)
    assert caught.value.limit == "text matching ^sha256:[0-9a-fA-F]{64}$ or null"


@pytest.mark.parametrize("section", ["[1]", "{seed: 1}", "{seed: []}"])
def test_a_sweep_is_lists_by_key(tmp_path: Path, section: str) -> None:
    with pytest.raises(RecipeError, match=r"wrong value for `sweep`") as caught:
        draft_of_file(write(tmp_path, f"model: m\nsweep: {section}\n"))
    assert str(caught.value.place).endswith("mine.yaml:2")


def test_two_recipes_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, "model: m\n", "same.yaml")
    monkeypatch.setattr("n6convert.recipe.reader._folders", lambda: iter([tmp_path / "a", tmp_path / "b"]))
    with pytest.raises(RecipeError, match="two recipes are called 'same'"):
        recipe_files()


def test_printed_recipe_reads_back_equal(tmp_path: Path) -> None:
    recipe = finish(Draft({"model": "m", "quantization": {"ranges": "mse"}, "options": {"imgsz": 256}}))
    path = write(tmp_path, to_yaml(recipe))
    assert finish(draft_of_file(path)) == recipe
    assert set(yaml.safe_load(path.read_text())) == set(Recipe.model_fields)


def test_published_schema_is_current() -> None:
    published = json.loads((ROOT / "recipes" / "recipe.schema.json").read_text())
    assert published == recipe_schema(), "run: n6convert recipe --schema > recipes/recipe.schema.json"


def test_make_draft_names_what_is_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(UsageError, match=r"did you mean model\.onnx"):
        make_draft("modle.onnx")
    with pytest.raises(UsageError, match="yolov8n"):
        make_draft("yolov8nn")
    assert make_draft("model.onnx").values == {"model": "onnx", "weights": "model.onnx"}


def test_a_file_without_an_ending_is_a_recipe_when_it_is_text(tmp_path: Path) -> None:
    recipe, model, text = tmp_path / "mine", tmp_path / "network", tmp_path / "broken"
    recipe.write_text("model: onnx\nweights: w.onnx\n", encoding="utf-8")
    text.write_text("[" * 100, encoding="utf-8")
    model.write_bytes(b"\x08\x08\x12\x00:\x05")
    assert str(make_draft(recipe).values["weights"]).endswith("w.onnx")
    assert make_draft(model).values["weights"] == str(model)
    with pytest.raises(RecipeError):
        make_draft(text)
