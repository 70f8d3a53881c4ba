"""Sample, label and range files that somebody sent: each is used or refused in one message."""

from __future__ import annotations

import json
import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n6convert.errors import N6ConvertError
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.quantization.ranges.file import load_ranges
from n6convert.samples import fingerprint_samples, open_samples

INFO = ModelInfo((TensorInfo("image", (1, 3, 16, 16), "float32"),), (), {})
ARRAY = np.random.default_rng(1).random((4, 3, 16, 16)).astype(np.float32)


def read(path: Path, kind: str) -> int:
    """How many samples a source gives; N6ConvertError is fine, everything else is not."""
    fingerprint_samples(path)
    return sum(1 for _ in open_samples(path, kind, INFO, limit=4))


def refused_or_used(path: Path, kind: str = "image") -> bool:
    try:
        return read(path, kind) > 0
    except N6ConvertError as error:
        assert str(error)
        return False


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    "shape", ["(1000000000000,)", "(-5,)", "(1099511627776, 3, 16, 16)", "__import__('os').getpid()", "(" * 3000, "'x'"]
)
def test_arrays_that_lie_about_themselves(tmp_path: Path, shape: str) -> None:
    for kind in ("<f4", "|O", "zz"):
        with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
            archive.writestr("image.npy", header(shape, kind))
        assert not refused_or_used(tmp_path / "x.npz", "arrays")


def test_damaged_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", image=ARRAY)
    raw, draw = (tmp_path / "good.npz").read_bytes(), random.Random(0)
    used = 0
    for _ in range(120):
        data = bytearray(raw)
        for _ in range(draw.choice([1, 1, 3, 20])):
            data[draw.randrange(len(data))] = draw.randrange(256)
        (tmp_path / "x.npz").write_bytes(bytes(data[: draw.choice([len(data), draw.randrange(len(data))])]))
        used += refused_or_used(tmp_path / "x.npz", "arrays")
    assert used < 120


LABELS = [
    "[]", "{", "9" * 5000, "[" * 100_000, '{"images": 5}', '{"images": [1], "annotations": [], "categories": []}',
    '{"images": [{"id": [1], "file_name": 5}], "annotations": [{"image_id": {}}], "categories": [{"id": null}]}',
    '{"images": [{"id": 1, "file_name": "a\\u0000b"}], "annotations": [], "categories": []}',
    json.dumps({"images": [{"id": 1, "file_name": "a" * 5000}], "annotations": [], "categories": []}),
    '{"images": [{"id": 1, "file_name": "0.png"}], "annotations": [{"image_id": 1, "bbox": [NaN]}], "categories": []}',
]  # fmt: skip


@pytest.mark.parametrize("text", LABELS, ids=range(len(LABELS)))
def test_label_files(tmp_path: Path, text: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "0.png")
    for name in ("x.json", "x.csv", "x.tsv", "x.txt"):
        (tmp_path / name).write_text(text)
        for kind in ("image", "text", "arrays"):
            refused_or_used(tmp_path / name, kind)


def odd_folder(folder: Path, kind: str) -> None:
    for number in range(4):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / f"{number}.png")
    if kind == "links":
        (folder / "a.png").symlink_to("a.png")
        (folder / "self").symlink_to(".")
    elif kind == "pipe":
        os.mkfifo(folder / "p.png")
    elif kind == "bytes":
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff\xfe\n.png")).write_bytes((folder / "0.png").read_bytes())
    else:
        (folder / "b.png").write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(0).randbytes(200))


@pytest.mark.parametrize("kind", ["links", "pipe", "bytes", "damaged"])
def test_folders_of_images(tmp_path: Path, kind: str) -> None:
    odd_folder(tmp_path, kind)
    assert refused_or_used(tmp_path) or kind == "damaged"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-3], lambda text: "[" * 100_000, lambda text: text.replace("0.5", "9" * 400),
        lambda text: text.replace("0.5", "1e400"), lambda text: text.replace("0.5", "NaN"), lambda text: "9" * 5000,
        lambda text: text.replace("0.5", "true"), lambda text: text.replace("[0, 0.5]", "[0]"), lambda text: "[]",
        lambda text: text.replace("[0, 0.5]", "0"), lambda text: text.replace("0.5", "-1"), lambda text: "\udcff",
    ],
)  # fmt: skip
def test_ranges(tmp_path: Path, change: Callable[[str], str]) -> None:
    text = '{"format": "n6convert ranges 1", "ranges": {"y": [0, 0.5]}}'
    path = tmp_path / "ranges.json"
    path.write_text(text)
    assert load_ranges(path) == {"y": (0.0, 0.5)}
    path.write_bytes(change(text).encode("utf-8", "surrogateescape"))
    with pytest.raises(N6ConvertError):
        load_ranges(path)
