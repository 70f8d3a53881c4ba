"""The output folder changes in whole files, and a broken publication is finished by the next run."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from n6convert.errors import OutputError, UsageError
from n6convert.pipeline.publish import EVERY_PACKAGE, holding, publish
from n6convert.store.cache import sha256_of, write_atomically
from n6convert.store.outputs import MODEL, PAGE, refuse_loss


def source(folder: Path, **files: str) -> tuple[Path, dict[str, str], bytes]:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    hashes = {name: sha256_of(folder / name) for name in files}
    manifest = {"tool": "n6convert", "files": [{"path": n, "sha256": s} for n, s in hashes.items()]}
    return folder, hashes, json.dumps(manifest).encode()


def test_interrupted_publication_has_no_manifest_and_is_finished_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    old, hashes, manifest = source(tmp_path / "old", a="1", b="1", gone="1")
    publish(out, old, hashes, b"{}", manifest)
    new, hashes, manifest = source(tmp_path / "new", a="2", b="2")
    replace = Path.replace

    def interrupted(aside: Path, path: Path) -> Path:
        if path.name == "b":
            raise KeyboardInterrupt
        return replace(aside, path)

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(Path, "replace", interrupted)
        publish(out, new, hashes, b"{}", manifest)
    assert not (out / "manifest.json").exists()
    assert {p.name: p.read_text() for p in out.glob("[ab]")} == {"a": "2", "b": "1"} and not [*out.glob("*.part")]
    publish(out, new, hashes, b"{}", manifest)
    assert (out / "b").read_text() == "2" and (out / "manifest.json").read_bytes() == manifest


def test_unchanged_files_are_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    made, hashes, manifest = source(tmp_path / "made", a="1")
    publish(out, made, hashes, b"{}", manifest)
    inode = (out / "a").stat().st_ino
    publish(out, made, hashes, b"{1}", manifest)
    assert (out / "a").stat().st_ino == inode and (out / "report.json").read_bytes() == b"{1}"
    (out / "a").write_text("edited by hand")
    publish(out, made, hashes, b"{}", manifest)
    assert (out / "a").read_text() == "1"


@pytest.mark.parametrize("foreign", ["../victim", "/etc/victim", "sub/../../victim"])
def test_a_foreign_manifest_cannot_make_us_delete_elsewhere(tmp_path: Path, foreign: str) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.write_text("mine")
    (out / "manifest.json").write_text(json.dumps({"tool": "n6convert", "files": [{"path": foreign}]}))
    made, hashes, manifest = source(tmp_path / "made", a="1")
    publish(out, made, hashes, b"{}", manifest)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("content", ["[]", "null", "{", '{"manifest_version": 3}'])
def test_a_manifest_of_somebody_else_is_not_overwritten(tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(content)
    made, hashes, manifest = source(tmp_path / "made", a="1")
    with pytest.raises(OutputError, match="did not write"):
        publish(out, made, hashes, b"{}", manifest)
    assert [p.name for p in out.iterdir()] == ["manifest.json"] and (out / "manifest.json").read_text() == content


def test_a_file_in_the_way_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    made, hashes, manifest = source(tmp_path / "made", a="1")
    with pytest.raises(OutputError, match="file is in the way"):
        publish(tmp_path / "out", made, hashes, b"{}", manifest)


def test_what_a_killed_run_left_unfinished_is_removed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f".a.{'0' * 32}.part").write_text("half")
    (out / ".mine.part").write_text("the user's own")
    made, hashes, manifest = source(tmp_path / "made", a="1")
    publish(out, made, hashes, b"{}", manifest)
    assert {path.name for path in out.iterdir()} == {".mine.part", "a", "manifest.json", "report.json"}


def test_one_run_at_a_time_holds_a_folder_and_no_lock_stays(tmp_path: Path) -> None:
    count = """
import sys, time
from pathlib import Path
from n6convert.pipeline.publish import holding
number = Path(sys.argv[1]) / "number"
for _ in range(20):
    with holding(Path(sys.argv[1]) / "out", lambda *_: None):
        value = int(number.read_text())
        time.sleep(0.001)
        number.write_text(str(value + 1))
"""
    (tmp_path / "number").write_text("0")
    runs = [subprocess.Popen([sys.executable, "-c", count, str(tmp_path)]) for _ in range(3)]
    assert [run.wait() for run in runs] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "60"
    assert [path.name for path in tmp_path.iterdir()] == ["number"]


def test_a_lock_does_not_outlive_a_failure(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), holding(tmp_path / "out", lambda *_: None):
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "report.json", "report.html", "sub/b"])
def test_files_of_the_user_are_kept_unless_they_say_so(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    made, hashes, manifest = source(tmp_path / "made", a="1")
    (made / "sub").mkdir()
    (made / "sub/b").write_text("2")
    hashes["sub/b"] = sha256_of(made / "sub/b")
    manifest = json.dumps({"tool": "n6convert", "files": [{"path": n} for n in hashes]}).encode()
    draw = lambda folder: (folder / "report.html").write_text("drawn")  # noqa: E731
    with pytest.raises(OutputError, match="did not write") as caught:
        publish(out, made, hashes, b"{}", manifest, draw)
    assert name in str(caught.value.found) and "--force" in str(caught.value.remedy)
    assert [p for p in out.rglob("*") if p.is_file()] == [out / name] and (out / name).read_text() == "mine"
    names = [*hashes, *EVERY_PACKAGE]
    with pytest.raises(OutputError, match="did not write"), holding(out, lambda *_: None, expected=names):
        pass
    publish(out, made, hashes, b"{}", manifest, draw, force=True)
    assert (out / name).read_text() != "mine"
    publish(out, made, hashes, b"{1}", manifest, draw)  # now they are ours


@pytest.mark.parametrize("stop", range(7))
def test_a_publication_killed_anywhere_is_finished_without_force(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    out = tmp_path / "out"
    made, hashes, manifest = source(tmp_path / "made", a="1", b="2")
    steps = 0
    replace = Path.replace

    def killed(self: Path, target: Path) -> Path:
        nonlocal steps
        steps += 1
        if steps > stop:
            raise KeyboardInterrupt
        return replace(self, target)

    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", killed)
        with contextlib.suppress(KeyboardInterrupt):
            publish(out, made, hashes, b"{}", manifest, lambda f: write_atomically(f / "report.html", b"drawn"))
    assert (out / "manifest.json").exists() == (stop > 5)
    publish(out, made, hashes, b"{}", manifest, lambda f: write_atomically(f / "report.html", b"drawn"))
    assert {p.name for p in out.iterdir()} == {"a", "b", "report.json", "report.html", "manifest.json"}


@pytest.mark.parametrize("content", ['{"tool": "n6convert"}', '{"tool": "n6convert", "files": [1]}', "[" * 100000])
def test_a_damaged_manifest_is_refused_in_one_message(tmp_path: Path, content: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "manifest.json").write_text(content)
    made, hashes, manifest = source(tmp_path / "made", a="1")
    with pytest.raises(OutputError, match="did not write"):
        publish(out, made, hashes, b"{}", manifest)
    publish(out, made, hashes, b"{}", manifest, force=True)


def test_a_link_in_the_folder_leads_nowhere(tmp_path: Path) -> None:
    out, victim = tmp_path / "out", tmp_path / "victim"
    out.mkdir()
    victim.mkdir()
    (victim / "b").write_text("mine")
    (out / "sub").symlink_to(victim)
    (out / "a").symlink_to(victim / "b")
    (out / "manifest.json").write_text('{"tool": "n6convert", "files": [{"path": "sub/b"}, {"path": "a"}]}')
    made, hashes, manifest = source(tmp_path / "made", c="1")
    publish(out, made, hashes, b"{}", manifest)
    assert (victim / "b").read_text() == "mine"
    with pytest.raises(OutputError, match="leads out"):
        publish(out, made, {"sub/b": hashes["c"]}, b"{}", b"other")
    assert (victim / "b").read_text() == "mine"


def test_two_spellings_of_a_folder_have_one_lock(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    with holding(tmp_path / "link", lambda *_: None):
        assert (tmp_path / ".real.lock").exists()
    with pytest.raises(OutputError), holding(tmp_path / "loop", lambda *_: None):
        pass


@pytest.mark.parametrize("place", ["/proc/n6convert/x", "/dev/null/x", "x/" * 3000, "x" * 300])
def test_a_place_where_nothing_can_be_made_is_refused_not_waited_for(place: str) -> None:
    with pytest.raises(OutputError), holding(Path(place), lambda *_: None):
        pass


def test_no_command_replaces_its_input_or_a_file_of_the_user(tmp_path: Path) -> None:
    model, notes, page = tmp_path / "m.onnx", tmp_path / "notes.onnx", tmp_path / "old.html"
    model.write_bytes(b"\x08\x08\x12\x09n6convert")
    notes.write_text("mine")
    page.write_text("<footer>Written by n6convert 0.1</footer>")
    (tmp_path / "same.onnx").symlink_to(model)
    for path in (model, tmp_path / "same.onnx"):
        with pytest.raises(UsageError, match="replace the input"):
            refuse_loss(path, MODEL, inputs=[model], force=True)
    with pytest.raises(OutputError, match="did not write"):
        refuse_loss(notes, MODEL, inputs=[model])
    refuse_loss(notes, MODEL, inputs=[model], force=True)
    refuse_loss(model, MODEL)
    refuse_loss(page, PAGE)
    refuse_loss(tmp_path / "new.onnx", MODEL, inputs=[model])
