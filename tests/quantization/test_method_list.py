"""Every method is one file, named like it, with a test of the same stem, and the list holds all of them."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from n6convert.quantization import methods
from n6convert.quantization.methods import METHODS
from n6convert.recipe.quantization import QuantizationConfig

SHARED = {"__init__", "base", "candidate", "context", "ranges"}
FILES = sorted({p.stem for p in Path(methods.__path__[0]).glob("*.py")} - SHARED)


def test_the_list_holds_the_method_of_every_file() -> None:
    made = [importlib.import_module(f"{methods.__name__}.{stem}").METHOD for stem in FILES]
    assert len(made) == len(METHODS) and {id(m) for m in made} == {id(m) for m in METHODS}
    assert len({m.name for m in METHODS}) == len(METHODS)


@pytest.mark.parametrize("stem", FILES)
def test_a_method_is_named_like_its_file_and_has_a_test_of_its_stem(stem: str) -> None:
    method = importlib.import_module(f"{methods.__name__}.{stem}").METHOD
    words = method.name.replace("-", " ").replace(":", "").split()
    assert sorted(words) == sorted(stem.split("_"))
    assert "def test_" in (Path(__file__).parent / f"test_{stem}.py").read_text()


def test_a_recipe_decides_on_every_method_but_unclipped_ranges() -> None:
    """The keys that the recipe marks are the methods' keys, so nothing else lists what to leave out."""
    assert {m.key for m in METHODS} == {None, *QuantizationConfig.off()}
    nothing = QuantizationConfig(**QuantizationConfig.off())
    assert [m.name for m in METHODS if m.wanted(nothing)] == ["ranges: minmax"]
    everything = QuantizationConfig(split_products=True)
    assert all(m.wanted(everything) for m in METHODS)
    for key, value in QuantizationConfig.off().items():
        left = {m.key for m in METHODS if m.wanted(everything.model_copy(update={key: value}))}
        assert left == {m.key for m in METHODS} - {key}
