"""Keras files written for another version: their configuration in the words of this one, without running code of them.

Keras 2 wrote options that Keras 3 does not know, where they say nothing (``groups=1`` of a depthwise convolution).
Steps of recurrent layers are written out, since a loop has no INT8 form.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["CODE", "HAS_CODE", "STEPS", "adapted", "layers_with_code"]

#: exit code of the child process for a file that carries code
HAS_CODE = 3

#: layers whose function is Python code in the file
CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda", "OpLambda")
#: steps of a recurrent layer that are written out, at most
STEPS = 128
_RECURRENT = ("LSTM", "GRU", "SimpleRNN")
#: options by layer that this Keras does not know, with the value that says nothing
_SILENT: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("DepthwiseConv2D", "DepthwiseConv1D", "SeparableConv2D", "SeparableConv1D"), {"groups": 1}),
    **dict.fromkeys(("Conv2DTranspose", "Conv1DTranspose"), {"groups": 1}),
    **dict.fromkeys(_RECURRENT, {"time_major": False}),
}


def adapted(source: Path, folder: Path) -> tuple[Path, dict[str, Any]]:
    """A copy of a ``.keras`` or ``.h5`` file in a folder with its configuration adapted, and that configuration."""
    copy = folder / f"adapted{source.suffix.lower()}"
    if zipfile.is_zipfile(source):
        return copy, _adapt_archive(source, copy)
    import h5py  # type: ignore[import-untyped]

    shutil.copyfile(source, copy)
    with h5py.File(copy, "r+") as file:
        text = file.attrs.get("model_config")
        if text is None:
            return copy, {}
        config = json.loads(text)
        _adapt(config, _steps(config) <= STEPS)
        file.attrs["model_config"] = json.dumps(config)
    return copy, config


def _adapt_archive(source: Path, copy: Path) -> dict[str, Any]:
    config: dict[str, Any] = {}
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(copy, "w") as new:
        for item in old.infolist():
            content = old.read(item)
            if item.filename == "config.json":
                config = json.loads(content)
                _adapt(config, _steps(config) <= STEPS)
                content = json.dumps(config).encode()
            new.writestr(item, content)
    return config


def layers_with_code(config: dict[str, Any]) -> list[str]:
    """Names of layers that hold Python code, which is never run."""
    found = [n for n in _nodes(config) if n.get("class_name") in CODE]
    return [f"{n['class_name']} {n['config'].get('name', '')}".strip() for n in found]


def _nodes(part: Any) -> Iterator[dict[str, Any]]:
    """Every object of the configuration that has a class, outer ones first."""
    if isinstance(part, dict):
        if isinstance(part.get("class_name"), str) and isinstance(part.get("config"), dict):
            yield part
        for inner in part.values():
            yield from _nodes(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _nodes(inner)


def _adapt(config: dict[str, Any], unroll: bool) -> None:
    for node in list(_nodes(config)):
        options, kind = node["config"], node["class_name"]
        for name, silent in _SILENT.get(kind, {}).items():
            if name in options and options[name] in (silent, None):
                del options[name]
        axis = options.get("axis")
        if kind == "BatchNormalization" and isinstance(axis, list) and len(axis) == 1:
            options["axis"] = axis[0]
        if kind in _RECURRENT and unroll:
            options["unroll"] = True


def _steps(config: dict[str, Any]) -> int:
    """The largest number of steps that an input has; 0 where none is known."""
    shapes = [n["config"].get("batch_shape") or n["config"].get("batch_input_shape") or [] for n in _nodes(config)]
    return max((s[1] for s in shapes if len(s) == 3 and isinstance(s[1], int)), default=0)
