"""INT8 TFLite to :class:`~n6convert.npu.graph.Graph`, without TensorFlow."""

from __future__ import annotations

from pathlib import Path

from n6convert.errors import GraphError
from n6convert.npu.graph import Graph
from n6convert.npu.tflite_file import read_tables
from n6convert.npu.tflite_operators import translate
from n6convert.npu.tflite_translator import Translator

__all__ = ["read_tflite"]


def read_tflite(path: Path) -> Graph:
    """Read a TFLite file.

    Raises:
        SourceError: no such file.
        GraphError: damaged, not static, or an operator's parameters cannot be understood.
    """
    translator = Translator(read_tables(path), path.stem)
    try:
        return translator.run(translate)
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise GraphError("an operator of the TFLite file is damaged", place=path, found=repr(error)[:200]) from error
