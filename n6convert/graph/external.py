"""Weights that lie beside a model's file: found, checked and read, never from outside the model's folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.graph.fault import Fault, shortened
from n6convert.graph.tensors import stored_tensors, wanted_bytes

if TYPE_CHECKING:
    import onnx

__all__ = ["attach", "external_bytes", "external_faults", "files_beside", "is_external"]

#: how the key ``location`` of a tensor's external data lies in a file: field 1, 8 bytes
_TRACE = b"\x0a\x08location"
_RULE = "external-data"


def files_beside(path: Path) -> list[Path]:
    """Existing files that hold weights of an ONNX file, in order of name; none for files of another kind."""
    if path.suffix.lower() != ".onnx" or not path.is_file() or _TRACE not in path.read_bytes():
        return []
    import onnx

    try:
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
    except Exception:  # a DecodeError, or what protobuf's other implementations raise: the reader will say so
        return []
    named = {_entries(tensor).get("location", "") for _, tensor in stored_tensors(model) if is_external(tensor)}
    return sorted(file for name in named if _excuse(path.parent, name) is None and (file := path.parent / name))


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the values lie in another file."""
    return bool(tensor.data_location == 1)


def external_bytes(model: onnx.ModelProto) -> int:
    """Size of all weights beside the model."""
    return sum(wanted_bytes(tensor) or 0 for _, tensor in stored_tensors(model) if is_external(tensor))


def external_faults(model: onnx.ModelProto, folder: Path) -> Iterator[Fault]:
    """Weights beside the model that are missing, outside its folder, or of another size than their shape says."""
    excuses: dict[str, tuple[str, str] | None] = {}
    sizes: dict[str, int] = {}
    for node, tensor in stored_tensors(model):
        if not is_external(tensor):
            continue
        entries = _entries(tensor)
        name = entries.get("location", "")
        if name not in excuses:
            excuses[name] = _excuse(folder, name)
            sizes[name] = (folder / name).stat().st_size if excuses[name] is None else 0
        excuse = excuses[name]
        if excuse is not None:
            found, limit = shortened(name) or "no location", excuse[1]
            yield Fault(_RULE, excuse[0], node, tensor.name, limit, found, "put the data file beside the model")
        else:
            yield from _size_faults(node, tensor, entries, sizes[name])


def _entries(tensor: onnx.TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _excuse(folder: Path, name: str) -> tuple[str, str] | None:
    """Why a file is not read: (problem, what would be); None for a regular file inside the folder."""
    missing = ("the model's external weights are missing", f"a file in {folder}")
    outside = ("the model's external weights lie outside its folder", f"a file in {folder}, without links out of it")
    if not name or "\0" in name:
        return missing
    if ".." in Path(name.replace("\\", "/")).parts or Path(name).is_absolute() or name[0] == "\\" or name[1:2] == ":":
        return outside
    try:
        file = (folder / name).resolve()
        if not file.is_relative_to(folder.resolve()):
            return outside
        if not file.is_file():
            return missing
        if file.stat().st_nlink > 1:
            return "the model's external weights are a hard link", "a file of its own (`cp` makes one)"
    except (OSError, RuntimeError, ValueError):  # a name too long, links that form a ring
        return missing
    return None


def _size_faults(node: str | None, tensor: onnx.TensorProto, entries: dict[str, str], size: int) -> Iterator[Fault]:
    wanted = wanted_bytes(tensor)
    if wanted is None:
        return
    place = (node, tensor.name)
    numbers = {key: _number(entries.get(key)) for key in ("offset", "length")}
    for key, number in numbers.items():
        if number is None and key in entries:
            yield Fault(_RULE, f"an external weight has no usable {key}", *place, "bytes", shortened(entries[key]))
            return
    offset, length = numbers["offset"] or 0, numbers["length"]
    held = max(size - offset, 0) if length is None else min(length, max(size - offset, 0))
    if held < wanted:
        remedy = "copy the data file again, in full"
        found = f"{held} bytes at {offset} of {shortened(entries['location'])}"
        problem = "the model's external weights are shorter than their shape"
        yield Fault(_RULE, problem, *place, f"{wanted} bytes for {list(tensor.dims)}", found, remedy)
    elif length is not None and length != wanted:
        problem = "the model's external weights are longer than their shape"
        yield Fault(_RULE, problem, *place, f"{wanted} bytes for {list(tensor.dims)}", f"{length} bytes")


def _number(text: str | None) -> int | None:
    """A size in bytes; None for what is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 20 else None


def attach(model: onnx.ModelProto, folder: Path, longest: int | None = None) -> None:
    """Read checked weights from their files into the message, in place.

    Args:
        folder: where the model's file lies.
        longest: bytes up to which an initializer is read; None: all. Tensors of attributes always are.
    """
    for node, tensor in stored_tensors(model):
        wanted = wanted_bytes(tensor) or 0
        if not is_external(tensor) or (longest is not None and node is None and wanted > longest):
            continue
        entries = _entries(tensor)
        with (folder / entries["location"]).open("rb") as stream:
            stream.seek(int(entries.get("offset", "0")))
            tensor.raw_data = stream.read(wanted)
        tensor.ClearField("data_location")
        del tensor.external_data[:]
