"""The exported graph of a Hugging Face folder, through optimum's ONNX exporter in a child process.

PyTorch stays out of this process: it is large, and a crash of it must not take the conversion along.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import onnx_ir as ir

from n6convert.errors import SourceError, ToolError

__all__ = ["export_graph"]

_NEEDED = ("torch", "transformers", "optimum.exporters.onnx")
_ENVIRONMENT = {"USE_TF": "0", "USE_FLAX": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
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
    _require()
    output = scratch / "exported"
    command = [sys.executable, "-m", "n6convert_tinybert.export_child", str(folder), str(output), task, str(sequence)]
    try:
        child = subprocess.run(
            command, capture_output=True, text=True, timeout=time_limit, check=False, env=os.environ | _ENVIRONMENT
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError("the export ran out of time", place=folder, limit=f"{time_limit:g} s") from error
    if child.returncode:
        raise _explained(child.stderr, child.returncode, folder, task)
    model = ir.load(output / "model.onnx")
    ir.external_data.load_to_model(model)
    return model


def _require() -> None:
    try:
        missing = [name for name in _NEEDED if find_spec(name) is None]
    except ModuleNotFoundError as error:
        missing = [str(error.name)]
    if missing:
        raise ToolError(
            "the export of Hugging Face models needs more packages",
            found=f"no {', '.join(missing)}",
            remedy="pip install n6convert-tinybert with its dependencies; --weights seeded needs none of them",
        )


def _explained(text: str, code: int, folder: Path, task: str) -> SourceError | ToolError:
    lines = [line for line in text.strip().splitlines() if line.strip()]
    last = lines[-1][:400] if lines else f"exit code {code}"
    if any(sign in last for sign in _FOREIGN):
        limit = f"BERT-like models with {task}"
        return SourceError("the model cannot be exported", place=folder, limit=limit, found=last)
    if "size mismatch" in text or "safetensors" in last or "UnpicklingError" in text or "mismatched sizes" in text:
        return SourceError("the weights do not fit config.json or are damaged", place=folder, found=last)
    return ToolError("the export of the Hugging Face folder failed", place=folder, found=last)
