"""Files and names of users: read within limits, refused in one message, never an odd error."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from n6convert.errors import RecipeError, SourceError
from n6convert.store import inputs

IMPOSSIBLE = ["a" * 5000, "null\0character", "\udcff\0"]


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_names_that_no_file_can_have_are_of_no_file(name: str) -> None:
    path = Path(name)
    assert not any(ask(path) for ask in (inputs.exists, inputs.is_file, inputs.is_folder, inputs.occupied))
    assert inputs.leads_outside(Path("folder"), name) or "\0" not in name


def test_what_has_a_name(tmp_path: Path) -> None:
    file, folder, link, pipe = (tmp_path / n for n in ("file", "folder", "link", "pipe"))
    file.touch()
    folder.mkdir()
    link.symlink_to("nowhere")
    os.mkfifo(pipe)
    asked = (inputs.exists, inputs.is_file, inputs.is_folder, inputs.occupied)
    table = {file: "TTFT", folder: "TFTT", link: "FFFT", pipe: "TFFT", tmp_path / "none": "FFFF"}
    assert {p: "".join("FT"[ask(p)] for ask in asked) for p in table} == table


def test_the_home_folder_is_the_shells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert inputs.user_path("~/a") == Path("/home/me/a") and inputs.user_path("a/~") == Path("a/~")
    assert inputs.user_path("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")


@pytest.mark.parametrize(("name", "outside"), [
    ("a.bin", False), ("in/a.bin", False), ("in/../a.bin", True), ("../a.bin", True), ("..", True), ("", True),
    (".", True), ("link/a.bin", True), ("inner/a.bin", False), ("/etc/passwd", True),
    ("in/..bin", False), ("folder-beside", False),
])  # fmt: skip
def test_names_that_lead_out_of_their_folder(name: str, outside: bool, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "in").mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    (folder / "inner").symlink_to("in")
    assert inputs.leads_outside(folder, name) == outside


def test_a_folder_of_a_similar_name_is_outside(tmp_path: Path) -> None:
    (tmp_path / "folder-beside").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(tmp_path / "folder-beside")
    assert inputs.leads_outside(tmp_path / "folder", "link/x")


def test_text_is_utf_8_with_or_without_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for data in ("größe".encode(), b"\xef\xbb\xbf" + "größe".encode()):
        path.write_bytes(data)
        assert inputs.read_text(path) == "größe"
    path.write_bytes(b"gr\xf6\xdfe")
    with pytest.raises(SourceError, match="not UTF-8") as caught:
        inputs.read_text(path)
    assert caught.value.place == path and "position 2" in str(caught.value)


@pytest.mark.parametrize(("size", "fits"), [(9, True), (10, True), (11, False)])
def test_text_ends_at_its_limit(size: int, fits: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"x" * size)
    if fits:
        assert len(inputs.read_text(path, largest=10)) == size
        return
    with pytest.raises(SourceError, match="too large") as caught:
        inputs.read_text(path, largest=10)
    assert caught.value.limit == "10 bytes"


def test_a_pipe_is_refused_instead_of_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(SourceError, match="this is no file"):
            inputs.read_text(path)
    with pytest.raises(FileNotFoundError):
        inputs.read_text(tmp_path / "none")


def test_json_is_read_as_it_was_written(tmp_path: Path) -> None:
    content = {"größe": [1, -2.5, None, True, "\u2028"], "": {"": []}}
    for text in (json.dumps(content), json.dumps(content, ensure_ascii=False, indent=2)):
        (tmp_path / "a.json").write_text(text, encoding="utf-8")
        assert inputs.read_json(tmp_path / "a.json") == content


@pytest.mark.parametrize(("text", "problem"), [
    ("[" * 63 + "]" * 63, None), ('{"a":' * 63 + "1" + "}" * 63, None), ("[" * 70 + "]" * 70, "nested too deeply"),
    ('{"a":' * 66 + "1" + "}" * 66, "nested too deeply"), ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
    ("{", "is not JSON"), ("", "is not JSON"), ("{'a': 1}", "is not JSON"), ("1" * 5000, "is not JSON"),
])  # fmt: skip
def test_json_that_is_none(text: str, problem: str | None, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    if problem is None:
        assert inputs.read_json(path)
        return
    with pytest.raises(SourceError, match=problem) as caught:
        inputs.read_json(path)
    assert caught.value.place == path


def test_a_missing_file_names_its_neighbors(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").touch()
    error = inputs.no_such_file(tmp_path / "modle.onnx", RecipeError)
    assert isinstance(error, RecipeError) and error.remedy == "did you mean model.onnx?"
    assert inputs.no_such_file(tmp_path / "none" / "model.onnx").remedy is None
    assert inputs.no_such_file(Path("a\0b")).remedy is None


def test_a_folder_that_may_not_be_listed_suggests_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    assert inputs.no_such_file(tmp_path / "a.onnx").remedy is None
