"""Recipes that somebody sent: every text is a recipe or one message, in bounded time and memory."""

from __future__ import annotations

import random
import time
import tracemalloc
from pathlib import Path

import pytest

from n6convert.cli import run
from n6convert.errors import N6ConvertError, RecipeError, UsageError
from n6convert.npu.targets import load_target
from n6convert.pipeline.preflight import check_recipe
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import draft_of_model, parse_setting
from n6convert.recipe.reader import draft_of_file
from n6convert.store.yaml_text import read_value
from n6convert.sweeps.grid import parse_axis

LETTERS = "abcdefghijklmn"
BOMB = "a: &a {x: 1}\n" + "".join(
    f"{k}: &{k} {{{', '.join(f'k{i}: *{p}' for i in range(9))}}}\n" for p, k in zip(LETTERS, LETTERS[1:], strict=False)
)
LIST_BOMB = "a: &a [x]\n" + "".join(
    f"{k}: &{k} [{', '.join([f'*{p}'] * 9)}]\n" for p, k in zip(LETTERS, LETTERS[1:], strict=False)
)
MERGE_BOMB = "a: &a {x: 1}\n" + "".join(
    f"{k}: &{k} {{<<: [{', '.join([f'*{p}'] * 9)}], {k}: 1}}\n" for p, k in zip(LETTERS, LETTERS[1:], strict=False)
)
WRONG = {
    BOMB: "too much", LIST_BOMB: "too much", MERGE_BOMB: "too much", "[" * 3000 + "]" * 3000: "nested too deeply",
    "{a: " * 3000 + "1" + "}" * 3000: "nested too deeply", "- " * 3000 + "a": "nested too deeply",
    "? " * 500 + "a": "nested too deeply", "model: " + "x" * 300_000: "too long", "model: &x [*x]": "itself",
    "model: &x {a: {b: *x}}": "itself", "model: 2024-99-99": "quotes", "model: 2024-01-01": "quotes",
    "model: 2024-01-01T99:99:99": "quotes", "seed: " + "9" * 5000: "too long", "seed: 0x" + "f" * 5000: "too long",
    "!!set {model}": "set", "model: !!set {a}": "set", "model: !!omap [a: 1]": "omap", "model: !!pairs [a: 1]": "pairs",
    "model: !!binary aGk=": "binary", "model: !!binary '***'": "binary",
    "model: !!python/object:os.system x": "os.system",
    "model: !!int abc": "what its tag says", "model: !!bool abc": "its tag says", "model: !!float x": "its tag",
    "model: !!map abc": "what its tag says", "model: !!seq {a: 1}": "what its tag says", "model: !!str [a]": "says",
    "model: !own x": "own", "? [a, b]\n: c": "a key must be text", "? {a: b}\n: c": "a key must be text",
    "1: a": "a key must be text", "null: a": "a key must be text", "yes: a": "key must be text", "~: a": "be text",
    "2024-01-01: a": "a key must be text", ".inf: a": "a key must be text", "<<: 3": "not valid YAML",
    "<<: [1]\nmodel: a": "not valid YAML", "model: *nowhere": "not valid YAML", "a: b: c": "not valid YAML",
    "a\tb: [": "not valid YAML", "%YAML 9.9\n---\na: b": "YAML", "--- a\n--- b": "not valid YAML", "\x01": "valid YAML",
    "model: \ud7ff\ufffe": "YAML", "extends: " + "a" * 5000: "does not exist", "extends: \"a\\0b\"": "does not exist",
    "extends: .": "does not exist", "extends: /dev/null/x": "does not exist", "model: x\nseed: .nan": "finite number",
    "model: x\nsimplify: {time_limit: .inf}": "finite number", "model: x\noptions: {a: [[-.inf]]}": "finite number",
    "model: x\nacceptance: {max_drop: 1.0e+999}": "finite number", "model: x\nseed: 99999999999999999999": "2^53",
    "model: x\nsimplify: {time_limit: 1.0e+300}": "simplify.time_limit",
}  # fmt: skip


@pytest.mark.parametrize("text", list(WRONG), ids=range(len(WRONG)))
def test_wrong_recipes_are_refused_with_file_and_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text, encoding="utf-8")
    tracemalloc.start()
    started = time.process_time()
    with pytest.raises(RecipeError) as caught:
        finish(draft_of_file(path))
    assert time.process_time() - started < 20 and tracemalloc.get_traced_memory()[1] < 100 << 20
    tracemalloc.stop()
    assert WRONG[text] in str(caught.value) and "r.yaml" in str(caught.value.place), caught.value
    assert len(str(caught.value)) < 3000 and caught.value.exit_code == 2


@pytest.mark.parametrize(
    "value",
    [".inf", ".nan", "2024-99-99", "9" * 5000, "[" * 3000, "!!set {a}", "{[a]: b}", "!!python/none x", "&a [*a]"],
)
def test_settings_and_axes_likewise(value: str) -> None:
    draft = draft_of_model("x")
    with pytest.raises(UsageError) as caught:
        path, found = parse_setting(f"simplify.time_limit={value}")
        draft.set(path, found, "--set")
        finish(draft)
    assert len(str(caught.value)) < 1000
    with pytest.raises(UsageError):
        parse_setting("a." * 5000 + "a=1")
    with pytest.raises(UsageError):
        key, values = parse_axis(f"simplify.time_limit={value}")
        draft.set(tuple(key.split(".")), values[0], "axis")
        finish(draft)


def test_what_recipes_may_hold_is_read_as_before() -> None:
    text = "a: [1, -2.5, 1_000, 0x1f, .5, true, null, ~, 'x', \"y\"]\nb: &b {c: 1}\nd: {<<: *b, e: *b}\nf: 1:30"
    c = {"c": 1}
    values = [1, -2.5, 1000, 31, 0.5, True, None, None, "x", "y"]
    assert read_value(text, "x") == {"a": values, "b": c, "d": {"c": 1, "e": c}, "f": 90}
    assert read_value("", "x") is None and read_value("192", "x") == 192


ATOMS = [
    "model", ": ", "- ", "\n", "  ", "[", "]", "{", "}", "&a ", "*a", "<<: ", "!!set ", "!!int ", "? ", "|", ">",
    "'", '"', "#", "seed", "options", "extends", "sweep", "weights", "calibration", ".nan", "1e5", "2024-01-01", "0o7",
    "\t", "~", "yes", ",", "%", "@", "`", "\\x00", "---\n", "...\n", "ö", "\u2028", "9" * 60,
]  # fmt: skip


def test_generated_texts_are_recipes_or_one_message(tmp_path: Path) -> None:
    draw = random.Random(0)
    path = tmp_path / "r.yaml"
    good = "model: x\nseed: 3\noptions: {imgsz: 64}\ncalibration:\n  samples: 3\nsweep: {options.imgsz: [32, 64]}\n"
    finished = refused = 0
    for number in range(600):
        if number % 2:
            text = "".join(draw.choices(ATOMS, k=draw.randint(1, 14)))
        else:
            place = draw.randrange(len(good))
            text = good[:place] + draw.choice(ATOMS) + good[place + draw.randint(0, 3) :]
        path.write_text(text, encoding="utf-8")
        try:
            draft = draft_of_file(path)
            draft.axes = {}
            check_recipe(finish(draft), draft)
            finished += 1
        except N6ConvertError as error:
            refused += 1
            assert "r.yaml" in str(error), (text, error)
    assert finished > 50 and refused > 200


@pytest.mark.parametrize("text", [BOMB, "[" * 3000, "clocks: 2024-99-99", "? [a]\n: b", "extends: " + "a" * 5000])
def test_board_files_have_the_same_limits(tmp_path: Path, text: str) -> None:
    (tmp_path / "board.yaml").write_text(text)
    with pytest.raises(N6ConvertError):
        load_target(f"{tmp_path}/board.yaml@4.0")


@pytest.mark.parametrize("option", ["--weights", "--calibration", "--evaluate", "--target", "--output"])
@pytest.mark.parametrize("name", ["a" * 5000, "~nobody-of-this-name/x", "\x1b[2Jx", "a/" * 3000])
def test_names_that_no_file_can_have(
    option: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if option == "--output" and name[0] in "~\x1b":
        pytest.skip("a folder may be called so")
    assert run(["yolov8n", "--set", "options.imgsz=64", "--weights", "seeded", option, name, "-q"]) in (1, 2)
    shown = capsys.readouterr().err
    assert "unexpected" not in shown and "bug" not in shown and "\x1b" not in shown


COMMANDS = ["", "recipe", "lint", "estimate", "rewrite", "quantize", "report", "fit", "compile"]


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_on_names_that_no_file_can_have(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a" * 5000, "a" * 5000 + ".yaml", "x" * 300 + ".onnx", "~nobody-of-this-name/x.onnx"):
        words = [command, name] if command else [name]
        assert run([*words, *(["tinybert"] if command == "fit" else [])]) in (1, 2)
        shown = capsys.readouterr().err
        assert "unexpected" not in shown and "bug" not in shown, shown[:400]
