"""Errors as they are told: one message with its parts, by text and by JSON; plugins' own wrapped with their owner."""

from __future__ import annotations

import importlib
import json
import logging
import pkgutil
import sys
import warnings
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import n6convert
from n6convert import errors, logs
from n6convert.errors import AcceptanceError, N6ConvertError, PluginError, RecipeError, UsageError
from n6convert.lazy import first_use, late
from n6convert.naming import nearest
from n6convert.plugin_errors import plugin_errors
from n6convert.report.words import decibels, kib, short

PARTS = {"stage": "quantize", "place": Path("a/b.onnx"), "limit": 4, "found": 0, "remedy": "take 4"}
EVERY = [getattr(errors, name) for name in errors.__all__]


@pytest.mark.parametrize("kind", EVERY)
def test_every_kind_keeps_its_parts(kind: type[N6ConvertError]) -> None:
    error = kind("it is wrong", **PARTS)  # type: ignore[arg-type]
    assert isinstance(error, N6ConvertError) and (kind.__doc__ or "").strip()
    assert str(error).split("\n") == [
        "quantize: it is wrong",
        "  where: a/b.onnx",
        "  allowed: 4",
        "  found: 0",
        "  remedy: take 4",
    ]
    found = json.loads(json.dumps(error.as_dict()))
    assert found == {"error": kind.__name__, "problem": "it is wrong", "stage": "quantize", "where": "a/b.onnx",
                     "allowed": "4", "found": "0", "remedy": "take 4"}  # fmt: skip
    assert str(kind("alone")) == "alone" and kind("alone").as_dict()["found"] is None


def test_exit_codes_say_who_must_act() -> None:
    codes = {kind.__name__: kind.exit_code for kind in EVERY}
    assert {name for name, code in codes.items() if code == 2} == {"UsageError", "RecipeError"}
    assert {name for name, code in codes.items() if code == 3} == {"AcceptanceError"}
    assert set(codes.values()) == {1, 2, 3} and issubclass(RecipeError, UsageError) and AcceptanceError.exit_code == 3


def entry() -> EntryPoint:
    return EntryPoint("toy", "n6_toy:Toy", "n6convert.models")


@pytest.mark.parametrize("cause", [ZeroDivisionError("x / 0"), SystemExit(3), KeyError("k"), RecursionError("deep")])
def test_whatever_a_plugin_raises_says_whose_it_is(cause: BaseException) -> None:
    with pytest.raises(PluginError, match="the plugin failed in build") as caught, plugin_errors(entry(), "build"):
        raise cause
    assert caught.value.__cause__ is cause and "n6_toy:Toy" in str(caught.value.place)
    assert str(caught.value.found).startswith(type(cause).__name__) and "--debug" in str(caught.value.remedy)


@pytest.mark.parametrize("cause", [RecipeError("no such key"), MemoryError(), KeyboardInterrupt()])
def test_what_is_no_fault_of_the_plugin_passes(cause: BaseException) -> None:
    with pytest.raises(type(cause)) as caught, plugin_errors(entry(), "build"):
        raise cause
    assert caught.value is cause


def test_names_that_people_mistype() -> None:
    known = ["yolov8n", "yolov8n-pose", "movenet", "tinybert"]
    assert nearest("yolo8n", known)[0] == "yolov8n" and nearest("movnet", iter(known)) == ["movenet"]
    assert nearest("zzz", known) == [] == nearest("movenet", []) and len(nearest("yolov8n", known * 3)) <= 3
    assert nearest("", known) == []


def test_a_package_imports_its_parts_when_they_are_used() -> None:
    load = first_use("n6convert", {"RecipeError": "errors", "gone": "errors"})
    assert load("RecipeError") is RecipeError
    for name in ("gone", "nothing", "__path__"):
        with pytest.raises(AttributeError):
            load(name)
    sys.modules.pop("colorsys", None)
    convert = late("colorsys.rgb_to_hls")
    assert "colorsys" not in sys.modules and convert(1.0, 1.0, 1.0) == (0.0, 1.0, 0.0) and "colorsys" in sys.modules


def test_every_public_name_of_the_package_is_there() -> None:
    assert all(getattr(n6convert, name) is not None for name in n6convert.__all__)
    assert set(n6convert.__all__) <= set(dir(n6convert))


PACKAGES = [m.name for m in pkgutil.iter_modules(n6convert.__path__, "n6convert.") if m.ispkg]


@pytest.mark.parametrize("package", [name for name in PACKAGES if name != "n6convert.tuning"])  # imports torch
def test_what_a_package_offers_exists(package: str) -> None:
    module = importlib.import_module(package)
    missing = [name for name in getattr(module, "__all__", ()) if not hasattr(module, name)]
    assert not missing


def records(**options: Any) -> str:
    """What reaches stderr from one record of ours at INFO, one at DEBUG, and a warning of a library."""
    import contextlib
    import io

    text = io.StringIO()
    with contextlib.redirect_stderr(text), logs.quiet_libraries(**options):
        own = logs.logger("n6convert.test_errors")
        own.info("done")
        own.debug("how")
        logging.getLogger("somebody").warning("theirs")
        warnings.warn("deprecated", stacklevel=1)
    return text.getvalue()


@pytest.mark.parametrize(("options", "shown"), [
    ({"debug": False}, set()), ({"debug": False, "verbosity": 1}, {"done"}),
    ({"debug": False, "verbosity": 2}, {"done", "how"}), ({"debug": True}, {"done", "how", "theirs"}),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:deprecated")
def test_logs_on_demand(options: Any, shown: set[str]) -> None:
    before = logging.getLogger("n6convert").level, list(logging.getLogger("n6convert").handlers)
    text = records(**options)
    assert {word for word in ("done", "how", "theirs") if word in text} == shown
    assert text.count("done") == ("done" in shown)
    assert before[0] == logging.getLogger("n6convert").level
    assert len(logging.getLogger("n6convert").handlers) <= len(before[1]) + 1


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0 KiB"), (1536, "2 KiB"), (1 << 20, "1,024 KiB"), (1e9, "976,562 KiB")]
)
def test_sizes_in_words(value: float, text: str) -> None:
    assert kib(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "no difference"), (3.14159, "3.1 dB"), (-0.05, "-0.1 dB"), (0.0, "0.0 dB")]
)
def test_ratios_in_words(value: float | None, text: str) -> None:
    assert decibels(value) == text


@pytest.mark.parametrize("size", [0, 39, 40, 41, 300])
def test_the_end_of_a_long_name_is_kept(size: int) -> None:
    name = "".join(chr(97 + i % 26) for i in range(size))
    found = short(name)
    assert len(found) <= 40 and (
        found == name if size <= 40 else found[0] == "…" and name.endswith(found[1:]) and len(found) == 40
    )
