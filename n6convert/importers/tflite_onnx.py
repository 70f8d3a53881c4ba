"""A TFLite file as a float ONNX graph with the same numbers, read without TensorFlow.

Activations of rank 3 or more are kept channel-first, so that convolutions need no Transposes between them; operators
that see the order of elements get TFLite's own. INT8 files become float ones: their constants keep the precision of 8
bits, and the grids of activations are dropped, as ``tf2onnx --dequantize`` does it.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from n6convert.errors import GraphError, SourceError
from n6convert.importers import tflite_elementwise, tflite_layers, tflite_shaping  # noqa: F401  # they register
from n6convert.importers.tflite_builder import HANDLERS, Builder, Unknown
from n6convert.importers.tflite_sizes import settle_sizes
from n6convert.npu.tflite_file import TFLiteFile, read_tables

__all__ = ["tflite_model"]


def tflite_model(path: Path) -> ir.Model:
    """Read a file of float32, float16 or INT8.

    Args:
        path: the file; integer inputs keep their type and are brought onto their grid inside the graph.

    Raises:
        Unknown: an operator, a type or an open size that is not read.
        SourceError, GraphError: no TFLite file, or a damaged one.
    """
    file = read_tables(path, all_values=True)
    settle_sizes(file)
    _refuse(file, path)
    try:
        return Builder(file, path).model()
    except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
        raise GraphError("an operator of the TFLite file is damaged", place=path, found=repr(error)[:200]) from error


def _refuse(file: TFLiteFile, path: Path) -> None:
    if file.sparse:
        raise SourceError(
            "the TFLite file's weights are stored sparse", place=path, found=", ".join(file.sparse[:3]),
            remedy="give the file from before it was made sparse, or export the model to ONNX",
        )  # fmt: skip
    missing = sorted({op.kind for op in file.operators} - set(HANDLERS))
    if missing:
        raise Unknown("the TFLite file has operators that are not read", place=path, found=", ".join(missing))
    used = {name for op in file.operators for name in (*op.inputs, *op.outputs) if name}
    for name in sorted(used):
        tensor = file.tensors[name]
        if any(size < 0 for size in tensor.shape):
            raise Unknown("the TFLite file leaves sizes open", place=name, found=list(tensor.shape))
        if tensor.constant and tensor.elements and name not in file.values:
            raise Unknown("the TFLite file holds constants of another type", place=name, found=tensor.dtype)
