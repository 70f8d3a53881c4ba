"""Options of ``quantize`` and ``rewrite`` reach the recipe as they were given, whatever characters they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx_text import text

from n6convert.cli import run
from n6convert.recipe.checking import finish
from n6convert.recipe.draft import Draft


class Stop(Exception):
    """Ends a command before it computes."""


@pytest.fixture
def drafts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Draft, Any, Any]]:
    """Drafts that commands made, with the arguments beside; the working folder holds a network."""
    monkeypatch.chdir(tmp_path)
    onnx.save(text("y = Relu(x)", "float[1,3,8,8] x", "float[1,3,8,8] y"), tmp_path / "net.onnx")
    found: list[tuple[Draft, Any, Any]] = []

    def keep(draft: Draft, *given: Any, **options: Any) -> None:
        found.append((draft, given, options))
        raise Stop

    for name in ("quantizing.quantize_draft", "rewriting.rewrite_draft", "debugging.debug_draft"):
        monkeypatch.setattr(f"n6convert.api.{name}", keep)
    return found


def told(drafts: list[tuple[Draft, Any, Any]], *words: str) -> tuple[Draft, Any, Any]:
    with pytest.raises(Stop):
        run([*words, "--debug"])
    return drafts[-1]


@pytest.mark.parametrize(
    "name", ["ranges.json", "my ranges #1.json", "a: b.json", "[x].json", "null", "1e3", "größe.json", "@"]
)
def test_a_file_of_ranges_is_the_one_that_was_named(name: str, drafts: Any) -> None:
    draft, (inputs,), options = told(
        drafts, "quantize", "net.onnx", "--ranges", name, "--set", "quantization.ranges=mse"
    )
    assert draft.values["quantization"] == {"ranges": "mse", "ranges_file": name}
    assert inputs == [Path("net.onnx"), Path(name)] and options["output"] == Path("net.int8.onnx")
    assert draft.places["quantization", "ranges_file"] == "--ranges"


def test_options_of_quantize(drafts: Any) -> None:
    draft, (inputs,), options = told(
        drafts, "quantize", "net.onnx", "--calibration", "d: e", "--samples", "7", "--target", "stm32n6570-dk@2.1",
        "--fast", "--save-ranges", "r.json", "-o", "out.onnx", "--force", "--no-cache", "--set", "seed=3",
    )  # fmt: skip
    recipe = finish(draft)
    assert (recipe.calibration.source, recipe.calibration.samples, recipe.seed) == ("d: e", 7, 3)
    assert (recipe.quantization.effort, recipe.target) == ("fast", "stm32n6570-dk@2.1")
    assert inputs == [Path("net.onnx"), Path("d: e")]
    assert options["ranges"] == Path("r.json") and options["output"] == Path("out.onnx")
    assert options["force"] and not options["cache"]


def test_what_is_not_given_is_not_in_the_recipe(drafts: Any) -> None:
    draft, _, options = told(drafts, "quantize", "net.onnx", "--quiet")
    assert draft.values == {"model": "onnx", "weights": "net.onnx"} and not draft.places
    assert options["ranges"] is None and options["cache"] and not options["force"]


@pytest.mark.parametrize(("words", "given"), [
    ([], {"rules": None, "exclude": [], "approximate": [], "combination": None}),
    (["--rules", "none"], {"rules": "none"}),
    (["--rules", " a, b ,,c"], {"rules": ["a", "b", "c"]}),
    (["--exclude", "a", "--approximate", "b,c", "--combination", "B"],
     {"exclude": ["a"], "approximate": ["b", "c"], "combination": "B"}),
])  # fmt: skip
def test_rules_by_name(words: list[str], given: dict[str, Any], drafts: Any) -> None:
    _, (model, _, found), options = told(drafts, "rewrite", "net.onnx", *words)
    assert model == Path("net.onnx") and {key: found[key] for key in given} == given
    assert options["output"] == Path("net.rewritten.onnx")


def test_debug_looks_at_sixteen_samples(drafts: Any) -> None:
    draft, (count,), options = told(drafts, "debug", "net.onnx", "--count", "3", "--no-cache")
    assert count == 3 and draft.values["calibration"]["samples"] == 16 and not options["cache"]
