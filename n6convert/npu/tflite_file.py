"""The tables of a TFLite file as plain records; the schema's field numbers are kept in this one module."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.graph.io import refuse_no_file
from n6convert.npu.flatbuffer import Table, root
from n6convert.npu.ir import Tensor

__all__ = ["OPERATORS", "Grid", "TFLiteFile", "TFLiteOperator", "read_tables"]

_IDENTIFIER = b"TFL3"
_DTYPES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    9: "int8",
    10: "float64",
    15: "uint32",
    16: "uint16",
}
_NUMPY = {"float32": "<f4", "int32": "<i4", "int64": "<i8", "uint8": "u1", "int8": "i1", "bool": "?", "int16": "<i2"}
_FLOAT16 = "<f2"
_VALUE_LIMIT = 4096

_BUILTIN = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC
LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH
SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL
FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL
REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND
HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
BATCH_MATMUL PLACEHOLDER CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
UNSORTED_SEGMENT_MIN SIGN"""

OPERATORS: dict[int, str] = dict(enumerate(_BUILTIN.split()))
"""Builtin operator codes of the TFLite schema."""


@dataclass(slots=True)
class TFLiteOperator:
    """One operator: builtin name, tensor names (empty when optional and absent) and its raw option table.

    ``custom`` are the options of an operator that the schema does not have, in a form of its maker's.
    """

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    options: Table | None
    custom: bytes = b""

    def option(self, index: int, kind: str = "i32", default: int = 0) -> int:
        """An integer option by its field number.

        Args:
            index: of the field.
            kind: its type: ``i8``, ``u16``, ``i32`` and so on, or ``bool``.
            default: what an absent field stands for.
        """
        return default if self.options is None else self.options.integer(index, kind, default)

    def real(self, index: int) -> float:
        """A float option by its field number, 0 when absent."""
        return 0.0 if self.options is None else self.options.real(index)


@dataclass(frozen=True, slots=True)
class Grid:
    """How a tensor is quantized: one scale and zero point, or one for each slice along ``axis``."""

    scales: NDArray[np.float32]
    zero_points: NDArray[np.int64]
    axis: int


@dataclass(slots=True)
class TFLiteFile:
    """The first subgraph of a file; sizes that the file leaves open are -1."""

    operators: list[TFLiteOperator]
    tensors: dict[str, Tensor]
    values: dict[str, NDArray[Any]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    grids: dict[str, Grid] = field(default_factory=dict)
    sparse: list[str] = field(default_factory=list)


def read_tables(path: Path, *, all_values: bool = False) -> TFLiteFile:
    """Read the tables.

    Args:
        all_values: constants of every size, float16 included, and not only small ones.

    Raises:
        SourceError: no such file.
        GraphError: not a TFLite file, or a damaged one.
    """
    refuse_no_file(path)
    model = root(path.read_bytes(), _IDENTIFIER)
    subgraph = next(model.tables(2), None)
    if subgraph is None:
        raise GraphError("the TFLite file has no graph", place=path)
    try:
        return _subgraph(model, subgraph, all_values)
    except IndexError as error:
        raise GraphError("the TFLite file is damaged", place=path, found="an index outside its table") from error


def _subgraph(model: Table, subgraph: Table, all_values: bool) -> TFLiteFile:
    buffers = list(model.tables(4))
    tables = list(subgraph.tables(0))
    names = _unique([table.text(3) for table in tables])
    file = TFLiteFile([], {}, {}, _names(subgraph, 1, names), _names(subgraph, 2, names))
    for name, table in zip(names, tables, strict=True):
        _tensor(file, name, table, buffers, all_values)
    codes = [max(code.integer(0, "i8"), code.integer(3)) for code in model.tables(1)]
    custom = [code.text(1) for code in model.tables(1)]
    for table in subgraph.tables(3):
        code = table.integer(0, "u32")
        kind = custom[code] or "CUSTOM" if codes[code] == 32 else OPERATORS.get(codes[code], f"BUILTIN_{codes[code]}")
        inputs, outputs = (_names(table, index, names) for index in (1, 2))
        own = table.array(5, "u1").tobytes()
        file.operators.append(TFLiteOperator(kind, inputs, outputs, table.table(4), own))
    return file


def _unique(names: list[str]) -> list[str]:
    seen: dict[str, int] = {}
    unique = []
    for index, name in enumerate(names):
        fresh = name if name and name not in seen else f"{name}#{index}"
        seen[name] = index
        unique.append(fresh)
    return unique


def _names(table: Table, index: int, names: list[str]) -> tuple[str, ...]:
    return tuple("" if i < 0 else names[i] for i in table.array(index, "<i4").tolist())


def _tensor(file: TFLiteFile, name: str, table: Table, buffers: list[Table], all_values: bool) -> None:
    shape = tuple(int(size) for size in table.array(0, "<i4").tolist())
    signature = table.array(7, "<i4").tolist()
    if any(size < 0 for size in (*shape, *signature[1:])):
        shape = tuple(int(size) for size in signature) if len(signature) == len(shape) else shape
    dtype = _DTYPES.get(table.integer(1, "i8"), "other")
    buffer = table.integer(2, "u32")
    raw = buffers[buffer].array(0, "u1") if buffer else np.zeros(0, np.uint8)
    tensor = Tensor(name, shape, dtype, constant=raw.size > 0)
    _quantization(file, tensor, table.table(4))
    file.tensors[name] = tensor
    if table.table(6) is not None:
        file.sparse.append(name)
    stored = _NUMPY | {"float16": _FLOAT16} if all_values else _NUMPY
    small = all_values or tensor.elements <= _VALUE_LIMIT
    if tensor.elements > 0 and small and dtype in stored and raw.size == tensor.nbytes:
        file.values[name] = np.frombuffer(raw.tobytes(), stored[dtype]).reshape(shape)


def _quantization(file: TFLiteFile, tensor: Tensor, table: Table | None) -> None:
    if table is None:
        return
    scales = table.array(2, "<f4")
    points = table.array(3, "<i8")
    if scales.size:
        tensor.scale = float(scales.tolist()[0])
        tensor.zero_point = int(points.tolist()[0]) if points.size else 0
        tensor.per_channel = scales.size > 1
        whole = points if points.size == scales.size else np.zeros(scales.size, np.int64)
        file.grids[tensor.name] = Grid(scales.astype(np.float32), whole.astype(np.int64), table.integer(6))
