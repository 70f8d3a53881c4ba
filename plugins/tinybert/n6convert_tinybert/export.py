"""The exported graph of a Hugging Face folder, through optimum's ONNX exporter in a child process.

PyTorch stays out of this process: it is large, and a crash of it must not take the conversion along.
"""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir

from n6convert.errors import SourceError, ToolError
from n6convert.plugin.child import HUGGING_FACE, Child, require, run_module

__all__ = ["export_graph"]

_NEEDED = ("torch", "transformers", "optimum.exporters.onnx")
_CHILD = "n6convert_tinybert.export_child"
_INSTALL = "pip install n6convert-tinybert with its dependencies; --weights seeded needs none of them"
_DAMAGED = ("size mismatch", "UnpicklingError", "mismatched sizes")
_FOREIGN = ("Trying to export a", "is not supported", "does not recognize this architecture", "support the task")


def export_graph(folder: Path, task: str, sequence: int, scratch: Path, *, time_limit: float = 900.0) -> ir.Model:
    """Export with static shapes: inputs ``input_ids``, ``attention_mask`` [1,S] and so on, as the model has them.

    Args:
        folder: Hugging Face folder with configuration and weights.
        task: optimum's name of it: ``text-classification``, ``feature-extraction``, ``fill-mask``.
        sequence: number of tokens.
        scratch: folder for the ONNX file.
        time_limit: seconds.

    Raises:
        SourceError: the architecture cannot be exported, or the weights do not fit the configuration.
        ToolError: optimum, transformers or torch is missing, crashed, or ran out of time.
    """
    require(_NEEDED, "the export of Hugging Face models", _INSTALL)
    output = scratch / "exported"
    arguments = [str(folder), str(output), task, str(sequence)]
    child = run_module(_CHILD, arguments, place=folder, time_limit=time_limit, environment=HUGGING_FACE)
    if child.code:
        raise _explained(child, folder, task)
    model = ir.load(output / "model.onnx")
    ir.external_data.load_to_model(model)
    return model


def _explained(child: Child, folder: Path, task: str) -> SourceError | ToolError:
    last = child.last
    if any(sign in last for sign in _FOREIGN):
        limit = f"BERT-like models with {task}"
        return SourceError("the model cannot be exported", place=folder, limit=limit, found=last)
    if "safetensors" in last or any(sign in child.text for sign in _DAMAGED):
        return SourceError("the weights do not fit config.json or are damaged", place=folder, found=last)
    return ToolError("the export of the Hugging Face folder failed", place=folder, found=last)
