"""Hashes of files, folders and data, and JSON that carries a hash of itself."""

from __future__ import annotations

import enum
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from n6convert.store.entry import RECORD, clear, move_in, move_out, read_entry
from n6convert.store.hashing import jsonable, key_of, read_sealed, sealed, sha256_of


class Color(enum.StrEnum):
    RED = "red"


@dataclass
class Point:
    x: float
    at: Path


@pytest.mark.parametrize(("value", "plain"), [
    (np.float32(0.5), 0.5), (np.int64(3), 3), (np.bool_(True), True), (np.array([[1, 2]]), [[1, 2]]),
    (np.array([np.nan, 1]), [None, 1]), (float("inf"), None), (Color.RED, "red"), (Path("a/b"), "a/b"),
    (Point(np.float64(1.5), Path("p")), {"x": 1.5, "at": "p"}), ({3, 1, 2}, [1, 2, 3]), ((1, (2,)), [1, [2]]),
    ({1: {"a": None}}, {"1": {"a": None}}), (True, True), (10**30, 10**30), ("ü", "ü"), (np.array(7), 7),
])  # fmt: skip
def test_values_become_plain_data(value: Any, plain: Any) -> None:
    found = jsonable(value)
    assert found == plain and type(found) is type(plain)
    json.dumps(found, allow_nan=False)


def test_a_files_hash_is_that_of_its_bytes(tmp_path: Path) -> None:
    for size in (0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1):
        data = np.random.default_rng(size).bytes(size)
        (tmp_path / "f").write_bytes(data)
        told: list[int] = []
        assert sha256_of(tmp_path / "f", told.append) == hashlib.sha256(data).hexdigest()
        assert (told or [0])[-1] == size and told == sorted(told)


def test_a_folders_hash_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    def folder(name: str, files: dict[str, str]) -> str:
        for file, text in files.items():
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).write_text(text)
        return sha256_of(tmp_path / name)

    first = folder("a", {"x": "1", "in/y": "2"})
    assert folder("b", {"in/y": "2", "x": "1"}) == first, "in any order"
    (tmp_path / "b" / "empty").mkdir()
    assert sha256_of(tmp_path / "b") == first
    others = [
        {"x": "1", "in/y": "3"},
        {"x": "1", "in/z": "2"},
        {"x": "1", "y": "2"},
        {"x": "1"},
        {"x": "12", "in/y": ""},
    ]
    hashes = [folder(f"c{i}", files) for i, files in enumerate(others)]
    assert len({first, *hashes}) == 1 + len(others)


@given(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=4))
def test_a_key_depends_on_every_part_and_no_order(parts: dict[str, Any]) -> None:
    assert key_of(parts) == key_of(dict(reversed(parts.items())))
    assert key_of(parts) != key_of({**parts, "one more": 0})


def without_seal(text: str) -> str:
    return json.dumps({k: v for k, v in json.loads(text).items() if k != "seal"})


@pytest.mark.parametrize("change", [
    lambda t: t.replace("1.5", "1.6"), lambda t: t.replace('"a"', '"b"'), lambda t: t[:-2], lambda t: "",
    lambda t: "[]", without_seal, lambda t: t.replace("}", ', "c": 1}'),
])  # fmt: skip
def test_a_seal_breaks_with_any_change(change: Any, tmp_path: Path) -> None:
    path, content = tmp_path / "s.json", {"a": [1.5, None, "ü"]}
    path.write_bytes(sealed(content))
    assert read_sealed(path) == content
    path.write_text(json.dumps(json.loads(path.read_text())))
    assert read_sealed(path) == content, "its form does not count"
    path.write_text(change(path.read_text()))
    assert read_sealed(path) is None and read_sealed(tmp_path / "none") is None


def entry(folder: Path, content: str = "result") -> dict[str, Any]:
    """An entry as a cache writes it."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text(content)
    files = {"model.onnx": sha256_of(folder / "model.onnx")}
    record = {"entry": "stages/a", "facts": {}, "files": files, "seconds": 1.0}
    (folder / RECORD).write_bytes(sealed(record))
    return record


def test_an_entry_in_the_way_stays_where_it_is_the_same_and_gives_way_where_not(tmp_path: Path) -> None:
    final = tmp_path / "final"
    record = entry(tmp_path / "first")
    move_in(tmp_path / "first", final, record)
    stamp = final.stat().st_ino
    move_in(tmp_path / "again", final, entry(tmp_path / "again"))
    assert final.stat().st_ino == stamp and read_entry(final, "stages/a") == record
    other = entry(tmp_path / "other", "another result")
    move_in(tmp_path / "other", final, other)
    assert read_entry(final, "stages/a") == other and (final / "model.onnx").read_text() == "another result"
    (final / "model.onnx").write_text("damaged")
    fresh = entry(tmp_path / "fresh")
    move_in(tmp_path / "fresh", final, fresh)
    assert read_entry(final, "stages/a") == fresh and read_entry(final, "stages/b") is None


def test_what_is_cleared_is_gone_and_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "f").touch()
    (tmp_path / "link").symlink_to("kept")
    (tmp_path / "folder" / "in").mkdir(parents=True)
    for name in ("link", "folder", "none"):
        clear(tmp_path / name)
    assert {p.name for p in tmp_path.iterdir()} == {"kept"} and (tmp_path / "kept" / "f").exists()
    aside = move_out(tmp_path / "kept", tmp_path / "scratch")
    assert aside.parent == tmp_path / "scratch" and (aside / "f").exists() and not (tmp_path / "kept").exists()
    assert move_out(tmp_path / "none", tmp_path / "scratch") == tmp_path / "none"
