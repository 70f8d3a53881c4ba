"""The stage cache: publication at once, damage, simultaneous runs, pruning."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from n6convert.errors import OutputError
from n6convert.store import cache
from n6convert.store.cache import Cache, Entry, jsonable, key_of, sha256_of, write_all, write_atomically
from n6convert.store.hashing import sealed


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


def test_prune_removes_old_checkpoints_but_none_that_a_run_goes_on_from(tmp_path: Path) -> None:
    mine, other = Cache(tmp_path, limit=1500), Cache(tmp_path, limit=1500)
    (tmp_path / "tune").mkdir()
    day = 24 * 3600
    for name, age, size in (("week", 8 * day, 1), ("large", 2 * day, 1000), ("new", day, 1000)):
        path = tmp_path / "tune" / f"{name}.npz"
        path.write_bytes(bytes(size))
        os.utime(path, (time.time() - age,) * 2)
    with mine.users.run():
        assert mine.checkpoint("week") == tmp_path / "tune" / "week.npz"
        other.prune()
        assert {p.stem for p in (tmp_path / "tune").iterdir()} == {"week", "new"}
    other.prune()
    assert {p.stem for p in (tmp_path / "tune").iterdir()} == {"new"}


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

    monkeypatch.setattr("n6convert.store.cache._flush", refuse)
    with pytest.raises(OutputError, match="the disk is full"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_files_written_together_appear_all_or_say_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents: dict[Path, bytes | Path] = {tmp_path / name: name.encode() for name in ("a", "b", "c/d")}
    flushed: list[str] = []
    flush = cache._flush
    monkeypatch.setattr(cache, "_flush", lambda path: flushed.append(path.name[:3]) or flush(path))
    write_all(contents)
    assert {p: p.read_bytes() for p in contents} == contents and sorted(flushed) == [".a.", ".b.", ".d."]
    with pytest.raises(OutputError, match="writing failed") as caught:
        write_all({tmp_path / "e": b"e", tmp_path / "a" / "f": b"f"})
    assert caught.value.place == tmp_path / "a" / "f"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b", "c"]


def test_facts_become_plain_json() -> None:
    values = {"a": np.float32(1.5), "b": np.array([1, 2]), "c": float("nan"), "d": (Path("x"), None, True), 5: {3, 1}}
    plain = {"a": 1.5, "b": [1, 2], "c": None, "d": ["x", None, True], "5": [1, 3]}
    assert jsonable(values) == plain


def edited(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def test_any_edit_of_an_entry_is_noticed(tmp_path: Path) -> None:
    cache, draw = Cache(tmp_path), random.Random(0)
    for _ in range(120):
        made = publish(cache, "k")

        def flipped(data: bytes) -> bytes:
            place, other = draw.randrange(len(data)), bytes([draw.randrange(256)])
            return data[:place] + draw.choice([b"", other + data[place + 1 :], data[place + 3 :]])

        edited(made.folder / "entry.json", flipped)
        found = cache.find("stage", "k")
        assert found is None or (found.facts, found.files, found.seconds) == (made.facts, made.files, made.seconds)
        assert found is not None or not made.folder.exists()


@pytest.mark.parametrize(
    "record",
    [
        None, 1, "x", [], {}, {"files": ["file.txt"]}, {"files": {"../../outside": "SHA"}},
        {"files": {"/etc/hostname": "SHA"}}, {"files": {"file.txt": 1}}, {"facts": []}, {"seconds": "x"},
        {"entry": "stage/other"}, {"more": 1}, {"files": {}}, {"files": {"a" * 5000: "SHA"}}, {"files": {"a\0": "SHA"}},
    ],
)  # fmt: skip
def test_a_record_of_another_form_is_dropped_though_its_seal_is_right(tmp_path: Path, record: object) -> None:
    cache = Cache(tmp_path / "cache")
    made = publish(cache, "k")
    (tmp_path / "outside").write_text("mine")
    whole = {"entry": "stage/k", "facts": {"n": 1}, "files": dict(made.files), "seconds": 0.5}
    content = whole | record if isinstance(record, dict) and record else record
    data = sealed(content) if isinstance(content, dict) else json.dumps(content).encode()
    (made.folder / "entry.json").write_bytes(data)
    assert cache.find("stage", "k") is None
    assert publish(cache, "k").folder.is_dir() and cache.find("stage", "k") is not None
    assert (tmp_path / "outside").read_text() == "mine"


@pytest.mark.parametrize("record", ["[" * 100_000, "9" * 5000, '{"a": 1e999}', "\xff\xfe", "NaN"])
def test_a_record_that_json_cannot_hold(tmp_path: Path, record: str) -> None:
    cache = Cache(tmp_path)
    (publish(cache, "k").folder / "entry.json").write_text(record)
    assert cache.find("stage", "k") is None


def in_the_way(path: Path, kind: str, elsewhere: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        path.write_text("x")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        (path / "sub").mkdir(parents=True)
    else:
        path.symlink_to({"loop": path, "broken": elsewhere / "absent", "link": elsewhere}[kind])


@pytest.mark.parametrize("kind", ["file", "pipe", "folder", "loop", "broken", "link"])
@pytest.mark.parametrize("place", ["stages/stage/k", "stages/stage", "stages", "scratch", "running"])
def test_what_is_in_the_way_is_removed(tmp_path: Path, kind: str, place: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").write_text("mine")
    in_the_way(tmp_path / "cache" / place, kind, elsewhere)
    cache = Cache(tmp_path / "cache")
    with cache.users.run():
        assert cache.find("stage", "k") is None
        publish(cache, "k")
        assert cache.find("stage", "k") is not None
    assert (elsewhere / "mine").read_text() == "mine"


def test_links_and_pipes_in_an_entry_are_damage(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    (tmp_path / "same").write_text("content")
    for change in ("link", "pipe", "more"):
        folder = publish(cache, "k").folder
        if change != "more":
            (folder / "file.txt").unlink()
        in_the_way(folder / ("x" if change == "more" else "file.txt"), "pipe" if change == "pipe" else "file", tmp_path)
        assert cache.find("stage", "k") is None, change


def test_entries_in_use_are_kept_whatever_the_clock_says(tmp_path: Path) -> None:
    mine, other = Cache(tmp_path, limit=0), Cache(tmp_path, limit=0)
    publish(mine, "unused")
    with mine.users.run(), mine.scratch() as folder:
        kept = publish(mine, "k").folder
        for path in (kept, folder):
            os.utime(path, (0, 0))
        other.prune()
        assert kept.is_dir() and folder.is_dir() and not (tmp_path / "stages/stage/unused").exists()
        assert mine.find("stage", "k") is not None
    other.prune()
    assert not kept.exists()
    assert [p.name for p in (tmp_path / "running").iterdir()] == ["clean-up.lock"]


def test_what_a_killed_run_left_is_swept_at_once(tmp_path: Path) -> None:
    code = """
import os, signal, sys
from pathlib import Path
from n6convert.store.cache import Cache
cache = Cache(Path(sys.argv[1]))
with cache.users.run(), cache.scratch() as folder:
    (folder / "half").write_text("x")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert list((tmp_path / "scratch").iterdir())
    victim = tmp_path.parent / f"{tmp_path.name}-victim"
    victim.mkdir()
    listed = next((tmp_path / "running").glob("*.txt"))
    listed.write_text(listed.read_text() + f"scratch/../../{victim.name}\nstages\n/etc\n")
    publish(Cache(tmp_path), "k")
    Cache(tmp_path).prune()
    assert not list((tmp_path / "scratch").iterdir()) and victim.is_dir() and (tmp_path / "stages/stage/k").is_dir()
    assert [p.name for p in (tmp_path / "running").iterdir()] == ["clean-up.lock"]
