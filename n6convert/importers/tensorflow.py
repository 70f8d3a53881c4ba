"""TFLite files, SavedModel folders and Keras files through tf2onnx (extra ``[tf]``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import GraphError, SourceError, ToolError
from n6convert.importers.child import Child, require, run_module
from n6convert.inputs import exists

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["import_tensorflow", "tensorflow_kind"]

_INSTALL = "pip install 'n6convert[tf]'"
_TFLITE_MAGIC = b"TFL3"
_KERAS_CHILD = "n6convert.importers.keras_child"
_ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"}


def tensorflow_kind(path: Path) -> str | None:
    """``tflite``, ``saved-model`` or ``keras``; None when the path is none of them."""
    if path.is_dir():
        return "saved-model" if (path / "saved_model.pb").is_file() else None
    return {".tflite": "tflite", ".lite": "tflite", ".keras": "keras", ".h5": "keras"}.get(path.suffix.lower())


def import_tensorflow(
    path: Path,
    scratch: Path,
    *,
    dequantize: bool = False,
    nchw_inputs: Sequence[str] = (),
    opset: int = 17,
    time_limit: float = 900.0,
) -> ir.Model:
    """Convert a TensorFlow model to ONNX.

    Args:
        path: ``.tflite``, SavedModel folder, ``.keras`` or ``.h5``.
        scratch: folder for temporary files.
        dequantize: turn an INT8 TFLite file into a float graph (its weights keep their 8 bits of precision).
        nchw_inputs: names of inputs that are to become channel-first.
        opset: ONNX opset of the result.
        time_limit: seconds for each step.

    Returns:
        the graph with the inputs and outputs of the original, dynamic dimensions left as they are.

    Raises:
        SourceError: no such file, or not of the kind its name says.
        GraphError: the model uses operators that tf2onnx cannot convert.
        ToolError: TensorFlow or tf2onnx is not installed, crashed, or ran out of time.
    """
    import onnx_ir as ir

    kind = _checked_kind(path)
    require(("tf2onnx", "tensorflow"), "TensorFlow import", _INSTALL)
    path, scratch = path.resolve(), scratch.resolve()  # the child works in the scratch folder
    if kind == "keras":
        folder = scratch / "saved_model"
        _run(_KERAS_CHILD, [str(path), str(folder)], path, time_limit, scratch)
        path, kind = folder, "saved-model"
    result = scratch / "imported.onnx"
    arguments = [f"--{kind}", str(path), "--output", str(result), "--opset", str(opset)]
    arguments += ["--dequantize"] if dequantize else []
    arguments += ["--inputs-as-nchw", ",".join(nchw_inputs)] if nchw_inputs else []
    _run("tf2onnx.convert", arguments, path, time_limit, scratch)
    model = ir.load(result)
    ir.external_data.load_to_model(model)
    return model


def _checked_kind(path: Path) -> str:
    if not exists(path):
        raise SourceError("the model does not exist", place=path)
    kind = tensorflow_kind(path)
    if kind is None:
        wanted = "a .tflite, .keras or .h5 file, or a folder with saved_model.pb"
        raise SourceError("this is no TensorFlow model", place=path, limit=wanted)
    if kind == "tflite":
        with path.open("rb") as stream:
            magic = stream.read(8)[4:]
        if magic != _TFLITE_MAGIC:
            raise SourceError("the file is not a TFLite model", place=path, limit="TFL3 at byte 4", found=repr(magic))
    return kind


def _run(module: str, arguments: Sequence[str], path: Path, limit: float, scratch: Path) -> None:
    child = run_module(module, arguments, place=path, time_limit=limit, environment=_ENVIRONMENT, folder=scratch)
    if child.code:
        raise _explained(child, path)


def _explained(child: Child, path: Path) -> GraphError | SourceError | ToolError:
    """The error a person can act on, from what the child printed."""
    text, last = child.text, child.last
    operators = set(re.findall(r"Tensorflow op \[[^:\]]*: (\w+)\] is not supported", text)) | _flex_operators(path)
    if operators or "Unsupported ops" in text:
        names = ", ".join(sorted(operators)) or text.split("Unsupported ops", 1)[1].splitlines()[0].strip(": ")
        remedy = "cut these operators off the model, or export it to ONNX with the framework it was trained in"
        return GraphError("tf2onnx cannot convert some operators", place=path, found=names, remedy=remedy)
    if "struct.error" in last or "Unable to open file" in last or "DecodeError" in text:
        return SourceError("the model file is damaged", place=path, found=last, remedy="download or export it again")
    if "cannot reshape array" in last and path.suffix.lower() in {".tflite", ".lite"}:
        remedy = "give the file from before it was made sparse, or export the model to ONNX"
        problem = "the TFLite file's weights are stored sparse, which tf2onnx does not read"
        return SourceError(problem, place=path, found=last, remedy=remedy)
    return ToolError("tf2onnx failed", place=path, found=last, remedy="export the model to ONNX and give that file")


def _flex_operators(path: Path) -> set[str]:
    """Names of the TensorFlow operators that a TFLite file calls through the Flex delegate."""
    if path.suffix.lower() not in {".tflite", ".lite"}:
        return set()
    return {name.decode() for name in re.findall(rb"Flex[A-Z][A-Za-z0-9]+", path.read_bytes())}
