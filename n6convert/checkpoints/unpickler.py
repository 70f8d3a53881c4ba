"""A pickle reader that knows tensors, plain containers and inert records, and nothing else.

A pickle is a program: ``GLOBAL`` imports any name and ``REDUCE`` calls it. Here names are looked up in a fixed table
instead of being imported. Classes of modules (``torch.nn``, other people's packages) become :class:`Record` types that
hold state and cannot be called with arguments; every other name is refused. The reader is the pure-Python one, since
the C reader allocates memory for whatever memo index a file names.
"""

from __future__ import annotations

import io
import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.checkpoints.records import Record
from n6convert.checkpoints.tensors import DTYPES, Storage, rebuild_tensor, rebuild_tensor_v3
from n6convert.errors import SourceError

__all__ = ["unpickle"]

_RECORD_PREFIXES = ("torch.nn.", "torch.optim.")
_RECORD_STDLIB = {"argparse.Namespace", "types.SimpleNamespace"}
_FORBIDDEN_OPCODES = (
    pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER,
    pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.PERSID,
)  # fmt: skip


def unpickle(data: bytes, storage: Callable[[Any], Storage], place: object) -> Any:
    """The object a pickle describes.

    Args:
        data: the pickle.
        storage: turns a persistent id into the storage it names.
        place: the file, for messages.

    Raises:
        SourceError: the pickle is damaged, or names something that is neither data nor a module.
    """
    try:
        return _Unpickler(data, storage, place).load()
    except SourceError:
        raise
    except RecursionError as error:
        raise SourceError("the pickle inside the weights file is nested too deeply", place=place) from error
    except Exception as error:  # a damaged pickle can fail in any way
        found = f"{type(error).__name__}: {str(error)[:200]}"
        raise SourceError("the pickle inside the weights file is damaged", place=place, found=found) from error


class _Unpickler(pickle._Unpickler):
    def __init__(self, data: bytes, storage: Callable[[Any], Storage], place: object) -> None:
        super().__init__(io.BytesIO(data), fix_imports=False, encoding="utf-8")
        self._storage = storage
        self._place = place
        self._records: dict[str, type[Record]] = {}

    def _build(self) -> None:
        """Give an object its state; classes and functions have none, and that of a dict (its attributes) is dropped."""
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, (Record, _PickledDtype, _PickledArray)):
            target.__setstate__(state)  # type: ignore[union-attr]
        elif not isinstance(target, (dict, set)):
            raise ValueError(f"state for an object of type {type(target).__name__}")

    dispatch = {k: v for k, v in pickle._Unpickler.dispatch.items() if bytes([k]) not in _FORBIDDEN_OPCODES}
    dispatch[pickle.BUILD[0]] = _build  # type: ignore[assignment]

    def persistent_load(self, pid: Any) -> Storage:
        return self._storage(pid)

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full in _KNOWN:
            return _KNOWN[full]
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if not _may_be_record(module, full):
            raise _refusal(full, self._place)
        return self._records.setdefault(full, _record_type(full, self._place))


def _may_be_record(module: str, full: str) -> bool:
    if full in _RECORD_STDLIB or full.startswith(_RECORD_PREFIXES):
        return True
    top = module.split(".")[0]
    return top not in sys.stdlib_module_names and top not in ("torch", "numpy", "__builtin__", "copy_reg", "")


def _refusal(full: str, place: object) -> SourceError:
    shown = full[:200].encode("unicode_escape").decode()
    return SourceError(
        f"the weights file wants to use `{shown}`, which is not data: opening it elsewhere could run code",
        place=place,
        limit="tensors, plain containers and modules",
        remedy="use weights from a source you trust, or save the model's state_dict as .safetensors",
    )


def _record_type(full: str, place: object) -> type[Record]:
    def new(cls: type[Record], *args: Any, **kwargs: Any) -> Record:
        if args or kwargs:
            raise _refusal(full, place)
        record = object.__new__(cls)
        Record.__init__(record)
        return record

    members = {"type_name": full, "__new__": new, "__init__": lambda self: None, "__setstate__": _set_state}
    members |= {"append": lambda self, x: self.items.append(x), "extend": lambda self, x: self.items.extend(x)}
    members["__setitem__"] = lambda self, key, value: self.entries.__setitem__(key, value)
    return type("Record", (Record,), members)


def _set_state(record: Record, state: Any) -> None:
    parts = state if isinstance(state, tuple) and len(state) == 2 else (state,)
    for part in parts:
        if isinstance(part, Mapping):
            record.state.update({str(k): v for k, v in part.items()})
        elif part is not None:
            record.state["__state__"] = part


class _PickledDtype:
    """``numpy.dtype`` while its byte order is still to come."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        self.dtype = np.dtype(code)
        if self.dtype.kind not in "biufcSU":
            raise ValueError(f"numpy type {code!r} is not plain numbers or text")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _PickledArray(np.ndarray[Any, Any]):
    def __setstate__(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        if len(shape) > 32 or not all(isinstance(n, int) for n in shape):
            raise ValueError("numpy array of no known shape")
        if np.frombuffer(data, kind.dtype).size != math.prod(shape):
            raise ValueError("numpy array with more or fewer bytes than its shape")
        super().__setstate__((1, tuple(shape), kind.dtype, fortran, bytes(data)))


def _new_array(kind: object, shape: object, code: object) -> NDArray[Any]:
    if kind is not _PickledArray:
        raise ValueError("only plain numpy arrays can be read")
    return _PickledArray.__new__(_PickledArray, (0,), "b")


def _scalar(kind: _PickledDtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype, count=1)[0].item()


def _no_bytes() -> bytes:
    """What protocols before 3 write for empty bytes, those of an empty array among them: a call without arguments."""
    return b""


def _encode(text: str, codec: str = "latin1") -> bytes:
    if codec not in ("latin1", "latin-1", "utf-8", "ascii"):
        raise ValueError(f"codec {codec!r}")
    return text.encode(codec)


def _parameter(data: Any, *ignored: Any) -> Any:
    return data


def _rebuild_from_type(function: Any, kind: Any, arguments: tuple[Any, ...], state: Any) -> Any:
    if function not in (rebuild_tensor, rebuild_tensor_v3, _parameter):
        raise ValueError("tensor subclass of an unknown kind")
    return function(*arguments)


def _device(kind: str, index: int = 0) -> str:
    if not isinstance(kind, str) or not isinstance(index, int):
        raise ValueError("device of an unknown form")
    return kind


def _path(*parts: str) -> str:
    return "/".join(parts).replace("//", "/")


def _numpy_names() -> dict[str, Any]:
    names: dict[str, Any] = {"numpy.dtype": _PickledDtype, "numpy.ndarray": _PickledArray}
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names |= {f"{module}._reconstruct": _new_array, f"{module}.scalar": _scalar}
    return names


_KNOWN: Mapping[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "torch.Size": tuple,
    "torch.device": _device,
    "torch.Tensor": "torch.Tensor",
    "torch.nn.parameter.Parameter": "torch.nn.parameter.Parameter",
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "_codecs.encode": _encode,
    "builtins.bytes": _no_bytes,
    "__builtin__.bytes": _no_bytes,
    "pathlib.Path": _path,
    "pathlib.PosixPath": _path,
    "pathlib.WindowsPath": _path,
    "torch.storage.UntypedStorage": "uint8",
    **{
        f"{b}.{n.__name__}": n
        for b in ("builtins", "__builtin__")
        for n in (set, frozenset, list, dict, tuple, complex)
    },
    **{f"torch.{d.storage}": d for d in DTYPES.values() if d.storage},
    **_numpy_names(),
}
