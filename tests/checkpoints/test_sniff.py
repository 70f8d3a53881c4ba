"""What a file is by its content, and what is said about files that are no weights."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from n6convert.checkpoints import load_tensors
from n6convert.checkpoints.sniff import refuse_foreign, what_is
from n6convert.errors import SourceError


def archive(mode: str) -> bytes:
    stream = io.BytesIO()
    if mode == "zip":
        with zipfile.ZipFile(stream, "w") as file:
            file.writestr("a", "b")
    else:
        with tarfile.open(fileobj=stream, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("a"))
    return stream.getvalue()


def safetensors(size: int, values: int = 1) -> bytes:
    """A file of one tensor whose header has so many bytes, filled with spaces as the format allows."""
    text = json.dumps({"w": {"dtype": "F32", "shape": [values], "data_offsets": [0, 4 * values]}})
    return struct.pack("<Q", size) + text.ljust(size).encode() + np.ones(values, "<f4").tobytes()


KINDS = {
    "empty": b"",
    "zip": archive("zip"),
    "tar": archive("tar"),
    "gzip": gzip.compress(b"weights"),
    "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 40,
    "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
    "torch-legacy": pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2) + pickle.dumps(1001, protocol=2),
    "unknown": b"\x00\x01\x02",
}
PICKLES = [pickle.dumps({"w": [1.0] * n}, protocol=p) for p in (2, 3, 4, 5) for n in (1, 7, 40, 256, 1000)]
PAGES = [b"<!DOCTYPE html><p>", b"\xef\xbb\xbf\n <HTML lang=en>", b"<?xml version='1.0'?>", b"\r\n\t<head>"]


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_by_their_first_bytes(kind: str, tmp_path: Path) -> None:
    (tmp_path / "w.pt").write_bytes(KINDS[kind])
    assert what_is(tmp_path / "w.pt") == kind == what_is(str(tmp_path / "w.pt"))


@pytest.mark.parametrize(("contents", "kind"), [(PICKLES, "pickle"), (PAGES, "html")])
def test_each_form_of_a_kind(contents: list[bytes], kind: str, tmp_path: Path) -> None:
    for content in contents:
        (tmp_path / "w").write_bytes(content)
        assert what_is(tmp_path / "w") == kind, content[:20]


@pytest.mark.parametrize("size", [*range(96, 400, 8), 0x8B1F, 0x4B50, 0x3C20])
def test_a_safetensors_file_may_begin_with_any_byte(size: int, tmp_path: Path) -> None:
    """The length of its header comes first: 128 begins like a pickle, 35,615 like a gzip file."""
    (tmp_path / "w").write_bytes(safetensors(size))
    assert what_is(tmp_path / "w") == "safetensors"
    assert load_tensors(tmp_path / "w")["w"].tolist() == [1.0]


def test_a_header_longer_than_the_file_is_none(tmp_path: Path) -> None:
    content = safetensors(96, 0)
    for left, kind in ((len(content), "safetensors"), (len(content) - 1, "unknown"), (9, "unknown"), (8, "unknown")):
        (tmp_path / "w").write_bytes(content[:left])
        assert what_is(tmp_path / "w") == kind, left


@pytest.mark.parametrize(
    "kind", ["html", "lfs", "torch-legacy", "tar", "gzip", "pickle", "hdf5", "empty", "unknown", "new"]
)
def test_each_kind_has_a_way_out(kind: str) -> None:
    error = refuse_foreign("w.pt", kind)
    assert error.problem.startswith("the weights file is ") and error.place == "w.pt" and error.remedy
    assert (error.problem == refuse_foreign("w.pt", "unknown").problem) == (kind in ("unknown", "new"))


def test_a_folder_names_the_weights_in_it(tmp_path: Path) -> None:
    for found in ("no .pt, .safetensors, .onnx in it", "a.pt", "a.pt, b.onnx"):
        with pytest.raises(SourceError, match="this is a folder") as caught:
            what_is(tmp_path)
        assert caught.value.found == found
        (tmp_path / ("b.onnx" if (tmp_path / "a.pt").exists() else "a.pt")).touch()
    for i in range(6):
        (tmp_path / f"c{i}.safetensors").touch()
    with pytest.raises(SourceError) as caught:
        what_is(tmp_path)
    assert str(caught.value.found).endswith("c2.safetensors and 3 more")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        what_is(tmp_path / "none")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="cannot be read"):
        what_is(tmp_path / "file" / "inside")
