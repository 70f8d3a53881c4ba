"""Lists of what living runs use: they end with the process, however it ends, and disks that refuse them stop nobody."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from n6convert.store.users import Users

HOLDER = """
import sys, time
from pathlib import Path
from n6convert.store.users import Users
users = Users(Path(sys.argv[1]))
with users.run():
    users.use("stages/export/a"); users.use("stages/export/ü b")
    print("held", flush=True)
    time.sleep(60)
"""


def _used(users: Users) -> set[str]:
    with users.quiet():
        return users.used()


def _abandoned(users: Users) -> set[str]:
    with users.quiet():
        return users.abandoned()


def _left(users: Users) -> list[str]:
    return sorted(p.name for p in users.folder.iterdir() if p.name != "clean-up.lock")


def test_what_is_used_counts_until_the_run_ends(tmp_path: Path) -> None:
    mine, other = Users(tmp_path), Users(tmp_path)
    with mine.run():
        assert _used(other) == set()
        mine.use("stages/export/a")
        mine.use("stages/tune/ä\u2028b")  # names are lines: a separator of Unicode is none
        assert {"stages/export/a"} <= _used(other)
        assert _abandoned(other) == set()
    assert _used(other) == _abandoned(other) == set()
    assert _left(mine) == []


def test_a_run_within_a_run_ends_with_the_outer_one(tmp_path: Path) -> None:
    users = Users(tmp_path)
    with users.run():
        with users.run():
            users.use("inner")
        assert _used(Users(tmp_path)) == {"inner"}
    assert _used(users) == set()


def test_an_error_ends_the_run_as_well(tmp_path: Path) -> None:
    users = Users(tmp_path)
    with pytest.raises(KeyError), users.run():
        users.use("a")
        raise KeyError
    assert _left(users) == []
    with users.run():  # and another one may begin
        users.use("b")
        assert _used(Users(tmp_path)) == {"b"}


def test_outside_a_run_nothing_is_listed(tmp_path: Path) -> None:
    users = Users(tmp_path)
    users.use("a")
    assert not users.folder.exists()
    with users.run():
        pass
    users.use("a")
    assert _used(users) == set()


def test_threads_have_runs_of_their_own(tmp_path: Path) -> None:
    users, named, end = Users(tmp_path), threading.Barrier(3), threading.Event()

    def work(name: str) -> None:
        with users.run():
            users.use(name)
            named.wait(20)
            end.wait(20)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    named.wait(20)
    users.use("c")  # this thread runs nothing
    assert _used(Users(tmp_path)) == {"a", "b"}
    end.set()
    for thread in threads:
        thread.join(20)
    assert _used(Users(tmp_path)) == set()


def test_a_killed_run_leaves_its_list_for_the_next_clean_up(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        users = Users(tmp_path)
        names = {"stages/export/a", "stages/export/ü b"}
        assert (_used(users), _abandoned(users)) == (names, set())
        child.kill()
    assert _used(users) == set()
    assert _abandoned(users) == names
    assert _abandoned(users) == set()
    assert _left(users) == []


def test_a_lock_without_a_list_goes_unless_it_is_held(tmp_path: Path) -> None:
    users = Users(tmp_path)
    with users.quiet():
        (users.folder / "12-ab.lock").touch()
        users.abandoned()
        assert _left(users) == []
    with users.run():
        (text,) = list(users.folder.glob("*.txt"))
        text.unlink()
        assert _abandoned(Users(tmp_path)) == set()
        assert [p.rsplit(".")[-1] for p in _left(users)] == ["lock"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b""])
def test_a_damaged_list_is_forgotten(tmp_path: Path, content: bytes) -> None:
    users = Users(tmp_path)
    with users.quiet():
        (users.folder / "12-ab.txt").write_bytes(content)
        assert users.abandoned() == set()
    assert _left(users) == []


def test_a_file_in_the_folders_place_gives_way(tmp_path: Path) -> None:
    (tmp_path / "running").write_text("in the way")
    users = Users(tmp_path)
    with users.run():
        users.use("a")
        assert _used(Users(tmp_path)) == {"a"}


def test_where_nothing_can_be_written_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    users = Users(tmp_path / "file" / "cache")
    ran = []
    with users.run():
        users.use("a")
        ran.append(1)
    assert ran == [1]
