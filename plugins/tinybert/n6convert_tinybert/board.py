"""What firmware needs to embed tokens: tables as binaries, and C code that looks them up and writes the inputs."""

from __future__ import annotations

from importlib.resources import files

import numpy as np

from n6convert.plugin import Firmware
from n6convert_tinybert.embedding import Embedding

__all__ = ["embedding_firmware", "embedding_tables"]


def embedding_tables(embedding: Embedding, table: str) -> dict[str, bytes]:
    """Tables for the flash by file name.

    Args:
        embedding: tables as ``encode`` uses them.
        table: ``int8`` (a scale a row) or ``float32``.
    """
    content = {"embedding_positions.bin": _raw(embedding.positions)}
    content["embedding_norm.bin"] = _raw(np.stack([embedding.gamma, embedding.beta]))
    if table == "int8":
        rows, scales = embedding.quantized_words()
        content |= {"embedding_words.bin": rows.tobytes(), "embedding_scales.bin": _raw(scales)}
    else:
        content["embedding_words.bin"] = _raw(embedding.words)
    return content


def embedding_firmware(stem: str, embedding: Embedding, table: str, mask: float, padding: int) -> Firmware:
    """``<stem>_embedding.c`` and ``.h``, which read those tables.

    Args:
        mask: added to the scores of padding.
        padding: token number of padding.
    """
    texts = {
        f"{stem}_embedding{end}": (files(__package__) / "c" / f"embedding{end}").read_text() for end in (".h", ".c")
    }
    prefix = stem.upper()
    sources = {name: text.replace("@STEM@", stem).replace("@PREFIX@", prefix) for name, text in texts.items()}
    return Firmware(sources, _shape(prefix, embedding, table, mask, padding))


def _raw(array: np.ndarray) -> bytes:
    return np.ascontiguousarray(array, "<f4").tobytes()


def _shape(prefix: str, embedding: Embedding, table: str, mask: float, padding: int) -> list[str]:
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
    return [f"#define {prefix}_EMBEDDING_{name} ({value})" for name, value in values.items()]
