"""Calibration samples, labels and ranges: damaged archives, arrays that lie, odd label files and folders."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from random import Random

import numpy as np

from .small import convert_command, write_small

__all__ = ["write"]

_SHAPES = ["(1000000000000,)", "(-5,)", "(4, 3, 8, 8)", "()", "(0, 3, 8, 8)", "(" * 3000, "'x'", "(1, 2, 3)"]
_KINDS = ["<f4", "<f8", "<f2", "<i8", "|b1", "<c8", "|O", "zz", "<U4", "<M8[s]"]
_TEXTS = [
    "", "[]", "{", "9" * 5000, "[" * 100_000, '{"images": 5}', '{"images": [1], "annotations": [], "categories": []}',
    '{"images": [{"id": [1], "file_name": 5}], "annotations": [{"image_id": {}}], "categories": [{"id": null}]}',
    '{"images": [{"id": 1, "file_name": "a\\u0000b"}], "annotations": [], "categories": []}', "file,label\n", "\0,\0\n",
    "a" * 5000 + ",1\n", '"' * 1001, "x.png," + "9" * 5000, "\t\t\n", "\x1b[2J\n", '{"format": "n6convert ranges 1"}',
    '{"format": "n6convert ranges 1", "ranges": {"y": [0, 1e999]}}', '{"format": "n6convert ranges 1", "ranges": []}',
    '{"format": "n6convert ranges 1", "ranges": {"y": [0, ' + "9" * 400 + "]}}", "\udcff\udcfe",
]  # fmt: skip


def write(rng: Random, folder: Path) -> list[list[str]]:
    """One odd source, given as samples, as labels and as ranges."""
    write_small(folder)
    name = rng.choice([_archive, _archive, _lie, _text, _text, _folder])(rng, folder)
    kind = rng.choice(["arrays", "images", "text"])
    return [
        convert_command("one", calibration=name, kind=kind),
        convert_command("two", "--evaluate", name),
        convert_command("three", "--set", f"quantization.ranges_file={json.dumps(name)}"),
    ]


def _archive(rng: Random, folder: Path) -> str:
    data = bytearray((folder / "samples.npz").read_bytes())
    for _ in range(rng.choice([1, 2, 30])):
        data[rng.randrange(len(data))] = rng.randrange(256)
    (folder / "x.npz").write_bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))
    return "x.npz"


def _lie(rng: Random, folder: Path) -> str:
    text = f"{{'descr': '{rng.choice(_KINDS)}', 'fortran_order': False, 'shape': {rng.choice(_SHAPES)}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + rng.randbytes(rng.choice([0, 99, 3072]))
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        archive.writestr(rng.choice(["x.npy", "../x.npy", "y.npy", "x"]), content)
    return "x.npz"


def _text(rng: Random, folder: Path) -> str:
    name = "x" + rng.choice([".json", ".csv", ".tsv", ".txt", ".npz", ".png", ".npy", ""])
    (folder / name).write_bytes(rng.choice(_TEXTS).encode("utf-8", "surrogateescape"))
    return name


def _folder(rng: Random, folder: Path) -> str:
    from PIL import Image

    place = folder / "d"
    place.mkdir()
    for number in range(rng.randint(0, 4)):
        pixels = np.full((8, 8, 3), number, np.uint8)
        Image.fromarray(pixels).save(
            place / rng.choice([f"{number}.png", f"*{number}.png", f"a\n{number}.png", f"<b>{number}.png"])
        )
    odd: Callable[[], object] = rng.choice([
        lambda: (place / "l.png").symlink_to("l.png"), lambda: (place / "s").symlink_to("."),
        lambda: os.mkfifo(place / "p.png"), lambda: (place / "b.png").write_bytes(rng.randbytes(99)),
        lambda: (place / "z.png").write_bytes(b""), lambda: (place / "sub.png").mkdir(),
    ])  # fmt: skip
    odd()
    return "d"
