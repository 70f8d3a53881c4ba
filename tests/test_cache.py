"""The stage cache: publication at once, damage, simultaneous runs, pruning."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from n6convert.cache import Cache, Entry, jsonable, key_of, sha256_of, write_atomically
from n6convert.errors import OutputError


def publish(cache: Cache, key: str, text: str = "content") -> Entry:
    with cache.scratch() as folder:
        (folder / "file.txt").write_text(text)
        return cache.publish("stage", key, folder, {"n": 1}, 0.5)


def test_what_was_published_is_found(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    made = publish(cache, "k")
    found = cache.find("stage", "k")
    assert found == made and found is not None and found.reused and not made.reused
    assert (found.folder / "file.txt").read_text() == "content"
    assert cache.find("stage", "other") is None


def test_no_reuse_finds_nothing(tmp_path: Path) -> None:
    publish(Cache(tmp_path), "k")
    assert Cache(tmp_path, reuse=False).find("stage", "k") is None


@pytest.mark.parametrize("damage", ["file.txt", "entry.json"])
@pytest.mark.parametrize("content", [b"", b"other", None])
def test_damage_is_noticed_and_cleared(tmp_path: Path, damage: str, content: bytes | None) -> None:
    cache = Cache(tmp_path)
    path = publish(cache, "k").folder / damage
    path.unlink() if content is None else path.write_bytes(content)
    assert cache.find("stage", "k") is None
    assert publish(cache, "k").folder.is_dir() and cache.find("stage", "k") is not None


def test_equal_result_of_another_run_stays_in_place(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    inode = (publish(cache, "k").folder / "file.txt").stat().st_ino
    assert (publish(cache, "k").folder / "file.txt").stat().st_ino == inode
    assert publish(cache, "k", "different").files != {}
    found = cache.find("stage", "k")
    assert found is not None and (found.folder / "file.txt").read_text() == "different"


def test_scratch_is_gone_after_success_and_failure(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    publish(cache, "k")
    with pytest.raises(RuntimeError), cache.scratch():
        raise RuntimeError
    assert not list((tmp_path / "scratch").iterdir())


def test_prune_removes_the_least_recently_used_and_old_scratch(tmp_path: Path) -> None:
    cache = Cache(tmp_path, limit=1500)
    for age, key in enumerate(["new", "middle", "old"]):
        folder = publish(cache, key, "x" * 600).folder
        os.utime(folder, (time.time() - 100 * age,) * 2)
    stale = tmp_path / "scratch" / "stale"
    stale.mkdir()
    os.utime(stale, (0, 0))
    cache.prune()
    assert cache.find("stage", "new") and not cache.find("stage", "old")
    assert not stale.exists()


def test_key_depends_on_content_not_on_order() -> None:
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1}) != key_of({"a": 1, "b": 3})


def test_hash_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    first = sha256_of(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    second = sha256_of(tmp_path)
    (tmp_path / "b").write_text("2")
    assert len({first, second, sha256_of(tmp_path)}) == 3


def test_atomic_write_keeps_the_old_file_when_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def refuse(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("n6convert.cache._flush", refuse)
    with pytest.raises(OutputError, match="the disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_facts_become_plain_json() -> None:
    values = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan"), "d": (Path("x"), None, True), 5: {3, 1}}
    plain = {"a": 1.5, "b": [1, 2], "c": None, "d": ["x", None, True], "5": [1, 3]}
    assert jsonable(values) == plain
