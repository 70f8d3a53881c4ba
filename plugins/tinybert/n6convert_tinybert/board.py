"""What firmware needs to embed tokens: tables as binaries, and C code that looks them up and quantizes."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from n6convert_tinybert.embedding import Embedding

__all__ = ["board_files"]

_CODE = ("embedding_lookup.h", "embedding_lookup.c")


def board_files(embedding: Embedding, table: str, mask: float, padding: int) -> dict[str, bytes]:
    """Files of the package by name.

    Args:
        embedding: tables as ``encode`` uses them.
        table: ``int8`` (a scale a row) or ``float32``.
        mask: added to the scores of padding.
        padding: token number of padding.
    """
    content = {"embedding_positions.bin": _raw(embedding.positions)}
    content["embedding_norm.bin"] = _raw(np.stack([embedding.gamma, embedding.beta]))
    if table == "int8":
        rows, scales = embedding.quantized_words()
        content |= {"embedding_words.bin": rows.tobytes(), "embedding_scales.bin": _raw(scales)}
    else:
        content["embedding_words.bin"] = _raw(embedding.words)
    content["embedding_shape.h"] = _shape(embedding, table, mask, padding).encode()
    return content | {name: (files(__package__) / "c" / name).read_bytes() for name in _CODE}


def _raw(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()


def _shape(embedding: Embedding, table: str, mask: float, padding: int) -> str:
    vocabulary, width = embedding.words.shape
    values = {
        "INT8": int(table == "int8"),
        "VOCABULARY": vocabulary,
        "WIDTH": width,
        "SEQUENCE": len(embedding.positions),
        "PADDING": padding,
        "MASK": f"{mask:.9e}f",
        "EPSILON": f"{embedding.epsilon:.17e}",
    }
    lines = [f"#define N6_EMBEDDING_{name} ({value})" for name, value in values.items()]
    head = ["/* Written by n6convert. */", "#ifndef EMBEDDING_SHAPE_H", "#define EMBEDDING_SHAPE_H"]
    return "\n".join([*head, *lines, "#endif", ""])
