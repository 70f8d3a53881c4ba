"""Whose file is it: ours are replaced, others are kept, inputs never go."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from n6convert.errors import OutputError, UsageError
from n6convert.store.outputs import MODEL, PAGE, listed, refuse_loss, write_record

OURS = {PAGE: b"<html>\n<!-- Written by n6convert 1.0 -->", MODEL: b"\x08\x08\x12\x09n6convert\x1a\x03"}


@pytest.mark.parametrize("mark", OURS)
def test_what_is_ours_is_replaced_and_what_is_not_is_kept(mark: bytes, tmp_path: Path) -> None:
    path = tmp_path / "out"
    refuse_loss(path, mark)
    path.write_bytes(OURS[mark])
    refuse_loss(path, mark)
    path.write_bytes(b"mine")
    with pytest.raises(OutputError, match="did not write is in the way") as caught:
        refuse_loss(path, mark)
    assert caught.value.place == path and "--output" in str(caught.value.remedy)
    refuse_loss(path, mark, force=True)


def test_a_producer_deep_inside_a_model_is_no_mark(tmp_path: Path) -> None:
    """The field is one of a model's first; its bytes within the weights say nothing."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"\0" * 200 + MODEL)
    with pytest.raises(OutputError):
        refuse_loss(path, MODEL)


@pytest.mark.parametrize("name", ["same", "in/../same", "link", "hard"])
def test_an_input_is_never_replaced_by_any_name(name: str, tmp_path: Path) -> None:
    (tmp_path / "same").write_bytes(OURS[MODEL])
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("same")
    os.link(tmp_path / "same", tmp_path / "hard")
    for force in (False, True):
        with pytest.raises(UsageError, match="would replace the input"):
            refuse_loss(tmp_path / name, MODEL, inputs=[tmp_path / "same"], force=force)


@pytest.mark.parametrize("name", ["yolov8n", "gone.onnx", "null\0", "a" * 5000])
def test_what_is_read_may_be_no_file(name: str, tmp_path: Path) -> None:
    """The name of a model that a plugin builds: the second run finds the first one's output in its place."""
    path = tmp_path / "int8.onnx"
    path.write_bytes(OURS[MODEL])
    refuse_loss(path, MODEL, inputs=[Path(name)])


def test_what_is_no_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to("nowhere")
    for name in ("pipe", "broken"):
        with pytest.raises(OutputError):
            refuse_loss(tmp_path / name, PAGE)
    (tmp_path / "folder").mkdir()
    refuse_loss(tmp_path / "folder", PAGE)  # writing there says so


def test_a_record_lists_its_files(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_record(path, ["b", "a/ü"])
    assert listed(path) == {"a/ü", "b"} and json.loads(path.read_text())["files"][0] == {"path": "a/ü"}


@pytest.mark.parametrize("content", [
    "", "[]", "{}", '{"tool": "other", "files": []}', '{"tool": "n6convert"}', '{"tool": "n6convert", "files": [1]}',
    '{"tool": "n6convert", "files": [{"path": 3}]}', '{"tool": "n6convert", "files": {}}', "[" * 100_000, "\udcff",
])  # fmt: skip
def test_other_records_list_nothing(content: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert listed(path) is None and listed(tmp_path / "none") is None
