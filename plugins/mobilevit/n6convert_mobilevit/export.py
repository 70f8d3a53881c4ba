"""A Hugging Face folder as a float graph, through transformers and optimum in a child process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnx_ir as ir

from n6convert.errors import SourceError, ToolError
from n6convert.plugin.checkpoints import load_tensors
from n6convert.plugin.child import HUGGING_FACE, require, run_module

__all__ = ["export_graph", "seeded_folder", "staged_folder"]

_NEEDED = ("torch", "transformers", "optimum.exporters.onnx")
_CHILD = "n6convert_mobilevit.export_child"
_MISFITS = ("newly initialized", "mismatched sizes", "size mismatch")
_FILES = ("model.safetensors", "pytorch_model.bin")


def staged_folder(source: Path, config: Mapping[str, Any], scratch: Path) -> Path:
    """A folder with the configuration and the weights as safetensors; pickled weights are read without running them.

    Args:
        source: folder with weights.
        config: content of ``config.json``.
        scratch: an empty folder.

    Raises:
        SourceError: no weights, or damaged ones.
    """
    found = next((source / name for name in _FILES if (source / name).is_file()), None)
    if found is None:
        raise SourceError("the folder holds no weights", place=source, limit=" or ".join(_FILES))
    from safetensors.numpy import save_file

    tensors = load_tensors(found)
    folder = _with_config(config, scratch)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def seeded_folder(config: Mapping[str, Any], seed: int, scratch: Path) -> Path:
    """A folder with the configuration and untrained weights: same seed, same numbers.

    Args:
        config: content of ``config.json``.
        seed: of the weights.
        scratch: an empty folder.
    """
    folder = _with_config(config, scratch)
    _run(["draw", str(folder), str(seed)], folder)
    return folder


def export_graph(folder: Path, scratch: Path) -> ir.Model:
    """Input ``pixel_values`` ``[1, 3, *image_size]``, output ``logits`` ``[1, classes]``.

    Raises:
        SourceError: the weights do not fit the configuration.
        ToolError: optimum, transformers or torch is missing, crashed, or ran out of time.
    """
    output = scratch / "exported"
    _run(["export", str(folder), str(output)], folder)
    model = ir.load(output / "model.onnx")
    ir.external_data.load_to_model(model)
    return model


def _with_config(config: Mapping[str, Any], scratch: Path) -> Path:
    folder = scratch / "folder"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(dict(config)), encoding="utf-8")
    return folder


def _run(arguments: list[str], place: Path) -> None:
    require(_NEEDED, "the export of MobileViT", "pip install n6convert-mobilevit with its dependencies")
    child = run_module(_CHILD, arguments, place=place, environment=HUGGING_FACE)
    if any(sign in child.text for sign in _MISFITS):
        raise SourceError("the weights do not fit config.json", place=place, found=_sign(child.text))
    if child.code:
        raise ToolError("the export of the Hugging Face folder failed", place=place, found=child.last)


def _sign(text: str) -> str:
    return next(line for line in text.splitlines() if any(sign in line for sign in _MISFITS))[:400]
