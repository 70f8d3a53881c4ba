"""Weight files: pickles with odd programs, damaged archives and safetensors, modules that hold each other."""

from __future__ import annotations

import json
import struct
import zipfile
from pathlib import Path
from random import Random

__all__ = ["write"]

_OPCODES = [bytes([code]) for code in b"(.0123FINPQRSTUVbcdeghijlopqrstu}])"]
_OPCODES += [b"\x80\x02", b"\x81", b"\x85", b"\x94", b"\x93"]
_NAMES = [b"torch.nn\nModule", b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem", b"collections\nOrderedDict"]
_WORDS = [b"X\x01\x00\x00\x00a", b"K\x01", b"J\xff\xff\xff\x7f", b"h\x00", b"q\x00", b"\x8a\x02\xff\x7f"]
_HEADERS = [
    "{}", "[]", "[" * 100_000, "{", '{"a": 5}', '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}',
    '{"a": {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}}',
    '{"a": {"dtype": "X", "shape": [], "data_offsets": []}}',
    '{"a": {"dtype": "F32", "shape": [1099511627776, 1099511627776], "data_offsets": [0, 8]}}',
    '{"a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}}', json.dumps({"a" * 9999: {}}), "9" * 5000,
]  # fmt: skip


def write(rng: Random, folder: Path) -> list[list[str]]:
    """One file under the name of a torch checkpoint or of safetensors."""
    name = rng.choice([_pickle, _pickle, _fan, _safetensors])(rng, folder)
    return [
        ["yolov8n", "--weights", name, "--imgsz", "64", "--quiet", "--output", "out"],
        ["efficientvit", "--weights", name, "--quiet", "--output", "out"],
    ]


def _pickle(rng: Random, folder: Path) -> str:
    words = [*_OPCODES, *_WORDS, *(b"c" + name + b"\n" for name in _NAMES)]
    program = b"\x80\x02" + b"".join(rng.choices(words, k=rng.randint(1, 60))) + b"."
    _zipped(folder / "w.pt", program if rng.random() < 0.9 else rng.randbytes(300), rng)
    return "w.pt"


def _fan(rng: Random, folder: Path) -> str:
    def text(word: str) -> bytes:
        return b"X" + struct.pack("<I", len(word)) + word.encode()

    program = b"\x80\x02ctorch.nn\nModule\nq\0)\x81q\1"
    for _ in range(rng.randint(1, 60)):
        members = b"".join(text(name) + b"h\1" for name in "abc"[: rng.randint(1, 3)])
        program += b"h\0)\x81}" + text("_modules") + b"}(" + members + b"usbq\1"
    _zipped(folder / "w.pt", program + b".", rng)
    return "w.pt"


def _zipped(path: Path, program: bytes, rng: Random) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", program)
        archive.writestr("archive/version", b"3\n")
    if rng.random() < 0.2:
        data = bytearray(path.read_bytes())
        data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data[: rng.choice([len(data), rng.randrange(len(data))])]))


def _safetensors(rng: Random, folder: Path) -> str:
    header = rng.choice(_HEADERS).encode()
    length = rng.choice([len(header), len(header), 0, 1 << 40, (1 << 64) - 1, len(header) // 2])
    (folder / "w.safetensors").write_bytes(struct.pack("<Q", length) + header + rng.randbytes(rng.choice([0, 8, 99])))
    return "w.safetensors"
