"""TensorFlow's files as ONNX: TFLite read here, SavedModel and Keras (and rare TFLite) by tf2onnx (extra ``[tf]``)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import GraphError, SourceError, ToolError
from n6convert.importers.child import Child, installed, require, run_module
from n6convert.importers.keras_config import HAS_CODE
from n6convert.importers.tflite_builder import Unknown
from n6convert.importers.tflite_kinds import is_float, refuse_unreadable_kinds
from n6convert.importers.tflite_onnx import tflite_model
from n6convert.store.inputs import exists

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["import_tensorflow", "tensorflow_kind"]

_INSTALL = "pip install 'n6convert[tf]'"
_TF = ("tf2onnx", "tensorflow")
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
        GraphError: the model uses operators that are not read, or that tf2onnx cannot convert.
        ToolError: TensorFlow or tf2onnx is not installed, crashed, or ran out of time.
    """
    import onnx_ir as ir

    kind = _checked_kind(path)
    if kind == "tflite":
        refuse_unreadable_kinds(path)
        if not nchw_inputs and (dequantize or is_float(path)):
            try:
                return tflite_model(path)
            except Unknown as error:
                if not installed(_TF):
                    error.remedy = f"{_INSTALL}: tf2onnx may read it"
                    raise
    require(_TF, "TensorFlow import", _INSTALL)
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
    if path.suffix.lower() in {".keras", ".h5"} and (error := _keras_error(child, path)) is not None:
        return error
    operators = set(re.findall(r"Tensorflow op \[[^:\]]*: (\w+)\] is not supported", text)) | _flex_operators(path)
    if operators or "Unsupported ops" in text:
        names = ", ".join(sorted(operators)) or text.split("Unsupported ops", 1)[1].splitlines()[0].strip(": ")
        remedy = "cut these operators off the model, or export it to ONNX with the framework it was trained in"
        return GraphError("tf2onnx cannot convert some operators", place=path, found=names, remedy=remedy)
    if "struct.error" in last or re.search(r"Unable to (synchronously )?open file", last) or "DecodeError" in text:
        return SourceError("the model file is damaged", place=path, found=last, remedy="download or export it again")
    if "cannot reshape array" in last and path.suffix.lower() in {".tflite", ".lite"}:
        remedy = "give the file from before it was made sparse, or export the model to ONNX"
        problem = "the TFLite file's weights are stored sparse, which tf2onnx does not read"
        return SourceError(problem, place=path, found=last, remedy=remedy)
    return ToolError("tf2onnx failed", place=path, found=last, remedy="export the model to ONNX and give that file")


def _keras_error(child: Child, path: Path) -> SourceError | GraphError | None:
    """What is wrong with a Keras file; None where it is the converter's fault."""
    text, last = child.text, child.last
    if child.code == HAS_CODE:
        return SourceError(
            "the Keras file holds Python code in a layer, and code of a file is never run", place=path, found=last,
            remedy="use layers of Keras instead (Rescaling, Activation, Reshape ...) and save again, or export to ONNX",
        )  # fmt: skip
    if "No model config found" in text or "No model found in config" in text:
        problem = "the Keras file holds weights only, without the network"
        return SourceError(problem, place=path, remedy="save the whole model: model.save('model.keras')")
    unknown = re.search(r"Could not locate class '(\w+)'|Unknown (?:layer|object): '?(\w+)", text)
    if unknown:
        problem = "the Keras file needs a class of its author's, which the file does not hold"
        remedy = "export it where that class is: model.export(FOLDER) writes a SavedModel"
        return SourceError(problem, place=path, found=unknown[1] or unknown[2], remedy=remedy)
    option = re.search(r"Unrecognized keyword arguments? passed to (\w+): (\{.*?\})", text)
    if option:
        problem = "the Keras file was written by another version of Keras, with an option that this one does not know"
        remedy = "load and save it with the Keras that wrote it as a SavedModel: tf.saved_model.save(model, FOLDER)"
        return SourceError(problem, place=path, found=f"{option[1]} {option[2]}", remedy=remedy)
    if "unroll" in text and "time dimension is undefined" in text:
        problem = "a recurrent layer has no fixed number of steps"
        return GraphError(problem, place=path, remedy="build the model with Input(shape=(steps, features))")
    return None


def _flex_operators(path: Path) -> set[str]:
    """Names of the TensorFlow operators that a TFLite file calls through the Flex delegate."""
    if path.suffix.lower() not in {".tflite", ".lite"}:
        return set()
    return {name.decode() for name in re.findall(rb"Flex[A-Z][A-Za-z0-9]+", path.read_bytes())}
