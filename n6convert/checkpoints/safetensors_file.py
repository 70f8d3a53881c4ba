"""``.safetensors`` files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from n6convert.checkpoints.sniff import refuse_foreign, what_is
from n6convert.errors import SourceError

__all__ = ["load_safetensors"]

_DTYPES: dict[str, np.dtype[Any]] = {
    **{name: np.dtype(code) for name, code in zip(
        ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"),
        ("<f8", "<f4", "<f2", "<i8", "<i4", "<i2", "i1", "<u8", "<u4", "<u2", "u1", "?"), strict=True)},
    "BF16": np.dtype(ml_dtypes.bfloat16),
    "F8_E4M3": np.dtype(ml_dtypes.float8_e4m3fn),
    "F8_E5M2": np.dtype(ml_dtypes.float8_e5m2),
}  # fmt: skip


def load_safetensors(path: Path | str) -> dict[str, NDArray[Any]]:
    """Arrays by name.

    Raises:
        SourceError: the file is missing, damaged, of another kind, or holds an unknown element type.
    """
    import safetensors

    kind = what_is(path)
    if kind in ("html", "lfs", "empty"):
        raise refuse_foreign(path, kind)
    try:
        entries: list[Any] = safetensors.deserialize(Path(path).read_bytes())  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise SourceError(
            "the .safetensors file is truncated or damaged", place=path, found=error, remedy="download or copy it again"
        ) from error
    return {name: _array(name, entry, path) for name, entry in entries}


def _array(name: str, entry: dict[str, Any], path: Path | str) -> NDArray[Any]:
    dtype = _DTYPES.get(entry["dtype"])
    if dtype is None:
        raise SourceError(
            "a tensor has an element type that cannot be read", place=f"{path}: {name}", found=entry["dtype"]
        )
    return np.frombuffer(entry["data"], dtype).reshape(entry["shape"])
