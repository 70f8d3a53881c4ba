"""What a TFLite file is, read off its tables before any framework starts: the kinds that cannot become ONNX."""

from __future__ import annotations

from pathlib import Path

from n6convert.errors import GraphError, N6ConvertError, SourceError
from n6convert.npu.tflite_file import TFLiteFile, read_tables

__all__ = ["is_float", "refuse_unreadable_kinds"]

_WEIGHTED = {"CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "FULLY_CONNECTED": 1, "TRANSPOSE_CONV": 1, "BATCH_MATMUL": 1}
_RECURRENT = (
    "LSTM", "RNN", "SVDF", "UNIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_LSTM", "UNIDIRECTIONAL_SEQUENCE_RNN",
    "BIDIRECTIONAL_SEQUENCE_RNN", "WHILE",
)  # fmt: skip
#: operators on what one run leaves for the next
_STATE = ("VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE")
_KERAS = "give the Keras file with a fixed number of steps, Input(shape=(steps, features)): its cells are written out"


def refuse_unreadable_kinds(path: Path) -> None:
    """Raise SourceError or GraphError for a TFLite file of a kind that no converter reads, with the way out."""
    try:
        file = read_tables(path)
    except N6ConvertError:
        return  # the converter says more about damage
    kinds = [op.kind for op in file.operators]
    if "ethos-u" in kinds:
        raise SourceError(
            "the TFLite file is compiled for Arm's Ethos-U by Vela: its layers are a command stream", place=path,
            found="operator ethos-u", remedy="give the .tflite from before `vela`, or the float model",
        )  # fmt: skip
    flex = sorted({kind for kind in kinds if kind.startswith("Flex")})
    if flex:
        lists = any("TensorList" in kind for kind in flex)
        raise GraphError(
            "the TFLite file calls TensorFlow itself (Select TF operators, the Flex delegate)", place=path,
            found=", ".join(flex), limit="operators of TFLite",
            remedy=_KERAS if lists else "export the model to ONNX where it was trained, or without these operators",
        )  # fmt: skip
    cells = sorted({kind for kind in kinds if kind in _RECURRENT})
    if cells:
        raise GraphError(
            "the TFLite file has recurrent layers as operators or loops, which tf2onnx does not read", place=path,
            found=", ".join(cells), remedy=_KERAS,
        )  # fmt: skip
    states = sorted({kind for kind in kinds if kind in _STATE})
    if states:
        raise GraphError(
            "the TFLite file keeps state from one run to the next", place=path, found=", ".join(states),
            limit="outputs that follow from the inputs alone",
            remedy="export the network with its states as further inputs and outputs, or for a whole window at once",
        )  # fmt: skip
    hybrid = _hybrid(file)
    if hybrid:
        raise SourceError(
            "the TFLite file is quantized dynamically (hybrid): int8 weights, float activations without grids",
            place=path, found=f"{hybrid[0]} and {len(hybrid) - 1} more" if len(hybrid) > 1 else hybrid[0],
            limit="float32, or INT8 throughout (made with a representative_dataset)",
            remedy="give the float model, or quantize it in full and use `n6convert requantize`",
        )  # fmt: skip


def _hybrid(file: TFLiteFile) -> list[str]:
    """Layers that read float activations and int8 weights."""
    found = []
    for op in file.operators:
        index = _WEIGHTED.get(op.kind)
        if index is None or len(op.inputs) <= index:
            continue
        weight, data = (file.tensors.get(name) for name in (op.inputs[index], op.inputs[0]))
        float_data = op.kind == "TRANSPOSE_CONV" or (data is not None and data.dtype == "float32")
        small = weight is not None and weight.constant and weight.dtype in ("int8", "uint8")
        if small and float_data and file.tensors[op.outputs[0]].dtype == "float32":
            found.append(f"{op.kind} {op.outputs[0]}")
    return found


def is_float(path: Path) -> bool:
    """Whether no activation of the file is quantized; its constants may be float16."""
    try:
        file = read_tables(path)
    except N6ConvertError:
        return False
    return not any(t.scale is not None and not t.constant for t in file.tensors.values())
