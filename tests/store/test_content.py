"""``n6convert cache``: what is there, and what is emptied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import n6convert
from n6convert.cli.entry import run
from n6convert.store.cache import Cache
from n6convert.store.content import cache_content, empty_cache


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert run(["cache", "--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def test_it_is_shown_and_emptied_by_parts(
    toy: Path, local_hub: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    local_hub.publish("owner/toy", {"model.bin": b"123"})
    monkeypatch.setenv("N6_TOY_HUB", "1")
    n6convert.convert("toy", settings={"simplify.onnxsim": False})
    capsys.readouterr()
    found = {part["name"]: part for part in shown(capsys)["parts"]}
    assert {"stages/export", "stages/package", "weights", "trust"} <= found.keys()
    assert found["weights"]["bytes"] == 3 and all(part["entries"] == 1 for part in found.values())
    after = shown(capsys, "--clear", "stages")
    assert [part["name"] for part in after["parts"]] == ["weights", "trust"] and after["freed"] > 1000
    after = shown(capsys, "--clear", "all")
    assert [part["name"] for part in after["parts"]] == ["trust"], "what was trusted is kept"
    assert shown(capsys, "--clear", "trust")["parts"] == []
    monkeypatch.setenv("N6CONVERT_OFFLINE", "1")
    with pytest.raises(n6convert.N6ConvertError, match="switched off"):
        n6convert.convert("toy", settings={"simplify.onnxsim": False})


def test_results_in_use_stay(toy: Path) -> None:
    n6convert.convert("toy", weights="seeded", settings={"simplify.onnxsim": False})
    cache = Cache()
    entry = next(cache.root.glob("stages/export/*"))
    with cache.users.run():
        cache.users.use(f"stages/export/{entry.name}")
        empty_cache(Cache(), ["stages"])
        assert [(part.name, part.entries) for part in cache_content(cache.root)] == [("stages/export", 1)]


def test_an_unknown_part_and_an_absent_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "none"))
    assert run(["cache"]) == 0 and "none" in capsys.readouterr().out
    assert run(["cache", "--clear", "everything"]) == 2
    assert "stages" in capsys.readouterr().err


def test_what_is_done_is_logged_on_demand(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["toy", "--weights", "seeded", "--set", "simplify.onnxsim=false", "--quiet"]
    assert run(words) == 0
    assert capsys.readouterr().err == ""
    assert run([*words, "-v"]) == 0
    told = capsys.readouterr().err
    assert "n6convert.pipeline.runner: export: from the cache" in told and "stages" not in told
    assert run([*words, "-vv"]) == 0
    assert "/stages/export/" in capsys.readouterr().err
    assert run(words) == 0
    assert capsys.readouterr().err == ""
