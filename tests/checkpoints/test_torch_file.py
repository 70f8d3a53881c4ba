"""Files that torch writes itself, read back without torch and compared with what torch says."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from n6convert.checkpoints import Record, flatten, load_safetensors, load_tensors, load_torch, walk_modules, what_is
from n6convert.errors import SourceError

torch = pytest.importorskip("torch")


def as_numpy(tensor: Any) -> np.ndarray:
    return tensor.detach().to(torch.float64).numpy() if tensor.dtype != torch.bool else tensor.numpy()


@pytest.mark.parametrize(
    "kind",
    [
        "float64",
        "float32",
        "float16",
        "bfloat16",
        "int64",
        "int32",
        "int16",
        "int8",
        "uint8",
        "uint16",
        "uint32",
        "bool",
        "complex64",
        "float8_e4m3fn",
        "float8_e5m2",
    ],  # fmt: skip
)
def test_element_types(tmp_path: Path, kind: str) -> None:
    values = torch.tensor([[0, 1, 2], [3, 5, 100]]).to(getattr(torch, kind))
    torch.save({"a": values, "b": values[0]}, tmp_path / "w.pt")
    read = load_torch(tmp_path / "w.pt")
    wide = torch.complex128 if kind == "complex64" else torch.float64
    expected = values.to(wide).numpy()
    assert read["a"].shape == (2, 3) and str(read["a"].dtype) == kind
    assert np.array_equal(read["a"].astype(expected.dtype), expected)
    assert np.array_equal(read["b"].astype(expected.dtype), expected[0])


def test_views_share_their_storage(tmp_path: Path) -> None:
    base = torch.arange(60, dtype=torch.float32).reshape(3, 4, 5)
    tree = {"base": base, "turned": base.permute(2, 0, 1), "row": base[1, 2:], "wide": base[0, :1].expand(4, 5)}
    tree |= {"empty": base[:0], "scalar": torch.tensor(7.0)}
    torch.save(tree, tmp_path / "w.pt")
    read = load_torch(tmp_path / "w.pt")
    trusted = torch.load(tmp_path / "w.pt", weights_only=True)
    for name, tensor in trusted.items():
        assert np.array_equal(read[name], tensor.numpy()), name
    assert np.shares_memory(read["base"], read["turned"]) and np.shares_memory(read["base"], read["row"])
    assert not read["base"].flags.writeable


def test_a_whole_module_becomes_records(tmp_path: Path) -> None:
    net = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(3, 4, 3), bn=torch.nn.BatchNorm2d(4, eps=1e-3)))
    net.append(torch.nn.ModuleList([torch.nn.Linear(2, 2, bias=False), torch.nn.SiLU()]))
    torch.save({"model": net, "epoch": 3}, tmp_path / "w.pt")
    read = load_torch(tmp_path / "w.pt")
    assert isinstance(read["model"], Record) and read["epoch"] == 3
    assert read["model"].type_name == "torch.nn.modules.container.Sequential"
    expected = net.state_dict()
    found = flatten(read)
    assert list(found) == list(expected)
    assert all(np.array_equal(found[n], t.numpy()) for n, t in expected.items())
    assert dict(walk_modules(read["model"]))["bn"].get("eps") == 1e-3


def test_state_dict_and_training_extras(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    args = argparse.Namespace(lr=0.1, path=Path("runs/a"))
    metrics = {"loss": np.float64(0.5), "curve": np.arange(4, dtype=np.float32), "device": torch.device("cpu")}
    extras = {"args": args, "metrics": metrics, "sizes": torch.Size([1, 2]), "kinds": {1, 2}, "dtype": torch.float16}
    torch.save({"state_dict": net.state_dict(), **extras}, tmp_path / "w.pt")
    read = load_torch(tmp_path / "w.pt")
    assert read["args"].get("lr") == 0.1 and read["args"].get("path") == "runs/a"
    assert read["metrics"]["loss"] == 0.5 and np.array_equal(read["metrics"]["curve"], metrics["curve"])
    assert read["sizes"] == (1, 2) and read["kinds"] == {1, 2} and read["metrics"]["device"] == "cpu"
    assert set(load_tensors(tmp_path / "w.pt")) == {"weight", "bias"}


def test_parameters_and_bare_state_dict(tmp_path: Path) -> None:
    net = torch.nn.Linear(3, 2)
    torch.save(OrderedDict(net.named_parameters()), tmp_path / "w.pt")
    found = load_tensors(tmp_path / "w.pt")
    assert np.array_equal(found["weight"], net.weight.detach().numpy())


def test_big_endian_files(tmp_path: Path) -> None:
    torch.save({"a": torch.tensor([1.0, 2.5])}, tmp_path / "little.pt")
    with zipfile.ZipFile(tmp_path / "little.pt") as source, zipfile.ZipFile(tmp_path / "big.pt", "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("byteorder"):
                data = b"big"
            if name.endswith("data/0"):
                data = struct.pack(">2f", *struct.unpack("<2f", data))
            target.writestr(name, data)
    assert load_torch(tmp_path / "big.pt")["a"].tolist() == [1.0, 2.5]


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    tensors = {"a": torch.arange(6).reshape(2, 3).to(torch.bfloat16), "b": torch.tensor([True, False])}
    tensors |= {"c": torch.randn(3, dtype=torch.float64), "d": torch.tensor([1.0]).to(torch.float8_e5m2)}
    save_file(tensors, tmp_path / "w.safetensors")
    read = load_safetensors(tmp_path / "w.safetensors")
    for name, tensor in tensors.items():
        assert np.array_equal(read[name].astype(np.float64), tensor.to(torch.float64).numpy())
    (tmp_path / "named.pt").write_bytes((tmp_path / "w.safetensors").read_bytes())
    assert set(load_tensors(tmp_path / "named.pt")) == set(tensors)


# -- files that must be refused ---------------------------------------------------------------------------------------


def refusal(path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"\n <!DOCTYPE html><html><body>Sign in</body></html>", "HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:31e2\nsize 6534387\n", "git lfs pull"),
        (b"\x1f\x8b\x08\x00rest", "gzip"),
        (b"\x89HDF\r\n\x1a\nrest", "HDF5"),
        (b"not weights at all", "no kind"),
        (b"PK\x03\x04 and then nothing", "truncated"),
        (pickle.dumps({"a": 1}), "bare pickle"),
    ],
)
def test_foreign_files(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "w.pt").write_bytes(content)
    assert words in refusal(tmp_path / "w.pt")


def test_missing_and_folder(tmp_path: Path) -> None:
    assert "does not exist" in refusal(tmp_path / "nothing.pt")
    assert "folder" in refusal(tmp_path) and "no .pt" in refusal(tmp_path)
    for i in range(7):
        (tmp_path / f"{i}.pt").touch()
    assert "0.pt, 1.pt, 2.pt, 3.pt, 4.pt and 2 more" in refusal(tmp_path)


def test_legacy_format_says_how_to_convert(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(2)}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert what_is(tmp_path / "w.pt") == "torch-legacy"
    assert "torch.save(torch.load(" in refusal(tmp_path / "w.pt")


def test_torchscript_and_foreign_zip(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(tmp_path / "script.pt"))
    assert "TorchScript" in refusal(tmp_path / "script.pt")
    with zipfile.ZipFile(tmp_path / "photos.pt", "w") as archive:
        archive.writestr("a.jpg", b"x")
    assert "a.jpg" in refusal(tmp_path / "photos.pt")


@pytest.mark.parametrize("keep", [0.2, 0.6, 0.97])
def test_truncated_files(tmp_path: Path, keep: float) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "w.pt")
    data = (tmp_path / "w.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(data[: int(len(data) * keep)])
    assert "truncated or damaged" in refusal(tmp_path / "cut.pt")


def test_a_flipped_bit_is_noticed(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1000)}, tmp_path / "w.pt")
    data = bytearray((tmp_path / "w.pt").read_bytes())
    place = data.index(struct.pack("<f", 1.0) * 10)
    data[place + 1000] ^= 1
    (tmp_path / "w.pt").write_bytes(data)
    assert "damaged" in refusal(tmp_path / "w.pt")


def write(path: Path, pickled: bytes, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/data.pkl", pickled)
        for name, data in members.items():
            archive.writestr(f"w/data/{name.removeprefix('_')}", data)
    return path


class Bad:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("echo no",), "system"),
        (eval, ("1",), "eval"),
        (exec, ("x=1",), "exec"),
        (getattr, ("a", "b"), "getattr"),
        (bytearray, (10,), "bytearray"),
        (torch.load, ("x",), "torch.serialization.load"),
        (torch.nn.functional.relu, (1,), "torch.nn.functional.relu"),
        (np.load, ("x",), "load"),
        (pytest.importorskip, ("os",), "importorskip"),
    ],
)
def test_pickles_with_code_are_refused_by_name(tmp_path: Path, function: Any, arguments: Any, name: str) -> None:
    for protocol in (0, 2, 4):
        data = pickle.dumps({"a": Bad(function, *arguments)}, protocol=protocol)
        message = refusal(write(tmp_path / "w.pt", data))
        assert name in message and "could run code" in message


def test_old_opcodes_run_nothing(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    for data in (f"(S'touch {marker}'\nios\nsystem\n.", f"cos\nsystem\n(S'touch {marker}'\ntR."):
        assert "os.system" in refusal(write(tmp_path / "w.pt", data.encode()))
    assert not marker.exists()


def test_records_never_call_into_their_class(tmp_path: Path) -> None:
    """A class of another package becomes a record even when that package is installed."""
    data = b"\x80\x02cargparse\nNamespace\n)\x81}(X\x01\x00\x00\x00aK\x01ub."
    (tmp_path / "x").mkdir()
    record = load_torch(write(tmp_path / "w.pt", data))["model"]
    assert isinstance(record, Record) and record.get("a") == 1 and not isinstance(record, argparse.Namespace)


def tensor_pickle(size: str, stride: str, offset: str = "K\x00", count: str = "K\x04") -> bytes:
    storage = f"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu{count}tQ"
    text = f"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n({storage}{offset}{size}{stride}\x89NtR."
    return text.encode("latin1")


@pytest.mark.parametrize(
    ("size", "stride", "offset", "count"),
    [
        ("K\x05\x85", "K\x01\x85", "K\x00", "K\x04"),  # longer than the storage
        ("K\x04\x85", "K\x02\x85", "K\x00", "K\x04"),  # strides beyond it
        ("K\x04\x85", "K\x01\x85", "K\x01", "K\x04"),  # starts too late
        ("K\x04\x85", "J\xff\xff\xff\xff\x85", "K\x03", "K\x04"),  # backwards
        ("K\x04\x85", "K\x01\x85", "J\xff\xff\xff\xff", "K\x04"),  # starts before it
        ("J\xff\xff\xff\x7f\x85", "K\x00\x85", "K\x00", "K\x04"),  # absurd expansion
        ("K\x04\x85", "K\x01\x85", "K\x00", "M\xff\xff"),  # storage shorter than claimed
    ],
)
def test_tensors_that_leave_their_storage(tmp_path: Path, size: str, stride: str, offset: str, count: str) -> None:
    good = write(tmp_path / "good.pt", tensor_pickle("K\x04\x85", "K\x01\x85"), _0=struct.pack("<4f", 1, 2, 3, 4))
    assert load_torch(good)["model"].tolist() == [1, 2, 3, 4]
    bad = write(tmp_path / "w.pt", tensor_pickle(size, stride, offset, count), _0=struct.pack("<4f", 1, 2, 3, 4))
    with pytest.raises(SourceError, match="storage|cut short"):
        load_torch(bad)


def test_state_cannot_be_put_on_classes_or_functions(tmp_path: Path) -> None:
    """BUILD sets attributes: on a class it would outlive the file."""
    for name in (
        b"collections\nOrderedDict",
        b"torch._utils\n_rebuild_tensor_v2",
        b"numpy\ndtype",
        b"torch.nn\nLinear",
    ):
        data = b"\x80\x02c" + name + b"\nN}X\x01\x00\x00\x00aK\x01s\x86b."
        assert "state for an object" in refusal(write(tmp_path / "w.pt", data))
    assert not hasattr(OrderedDict, "a")


def test_zip_bomb_and_endless_memo(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", tensor_pickle("K\x04\x85", "K\x01\x85"))
        archive.writestr("w/data/0", bytes(50_000_000))
    (tmp_path / "bomb.pt").write_bytes(buffer.getvalue())
    assert "compressed beyond belief" in refusal(tmp_path / "bomb.pt")
    memo = b"\x80\x02}r\xff\xff\xff\x7f."  # a memo index that a C reader would allocate gigabytes for
    assert load_torch(write(tmp_path / "memo.pt", memo)) == {}
    refusal(write(tmp_path / "array.pt", b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"."))


def test_damaged_pickles(tmp_path: Path) -> None:
    for data in (
        b"",
        b"\x80\x02",
        b"\x80\x02K",
        b"\x80\x02}q\x00(X\xff\xff\xff\x7f",
        b"garbage",
        b"\x80\x02(((((" + b"." * 3,
    ):
        assert "damaged" in refusal(write(tmp_path / "w.pt", data))


def test_safetensors_damage(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.ones(100)}, tmp_path / "w.safetensors")
    data = (tmp_path / "w.safetensors").read_bytes()
    (tmp_path / "w.safetensors").write_bytes(data[:-50])
    assert "truncated or damaged" in refusal(tmp_path / "w.safetensors")


def test_modules_that_hold_the_one_below_twice_are_refused_in_time() -> None:
    module = Record()
    for _ in range(40):
        above = Record()
        above.state = {"_modules": {"a": module, "b": module}}
        module = above
    with pytest.raises(SourceError, match="more modules or tensors"):
        flatten(module)


def test_a_shared_module_keeps_both_names() -> None:
    shared, root = Record(), Record()
    shared.state = {"_parameters": {"w": np.ones(2)}}
    root.state = {"_modules": {"a": shared, "b": shared}}
    assert sorted(flatten(root)) == ["a.w", "b.w"]
