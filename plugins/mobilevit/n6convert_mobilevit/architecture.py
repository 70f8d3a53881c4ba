"""Sizes of the MobileViT networks as transformers' ``config.json`` spells them, and checks of such files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from n6convert.errors import SourceError

__all__ = ["STRIDE", "class_names", "config_of", "read_config"]

#: an input side must be a multiple: five halvings, then patches of 2 x 2 on the smallest map
STRIDE = 64
_CLASSES = 1000
#: per model: channels of the convolutional layers, of the transformers, width of the inverted bottlenecks
_SIZES: Mapping[str, tuple[list[int], list[int], float]] = {
    "mobilevit": ([16, 16, 24, 48, 64, 80, 320], [64, 80, 96], 2.0),
    "mobilevit-xs": ([16, 32, 48, 64, 80, 96, 384], [96, 120, 144], 4.0),
    "mobilevit-s": ([16, 32, 64, 96, 128, 160, 640], [144, 192, 240], 4.0),
}


def config_of(name: str) -> dict[str, Any]:
    """What ``config.json`` holds for one of the published sizes."""
    neck, hidden, expand = _SIZES[name]
    return {
        "model_type": "mobilevit",
        "architectures": ["MobileViTForImageClassification"],
        "neck_hidden_sizes": neck,
        "hidden_sizes": hidden,
        "expand_ratio": expand,
        "image_size": 256,
        "patch_size": 2,
        "num_labels": _CLASSES,
    }


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration in a Hugging Face folder.

    Raises:
        SourceError: there is none, or it is not that of a MobileViT classifier.
    """
    if not folder.is_dir():
        raise SourceError(
            "MobileViT weights are a Hugging Face folder",
            place=folder,
            found="a file",
            limit="a folder with config.json and model.safetensors or pytorch_model.bin",
        )
    file = folder / "config.json"
    if not file.is_file():
        found = ", ".join(sorted(p.name for p in folder.iterdir())[:4]) or "an empty folder"
        raise SourceError("the folder has no config.json", place=folder, found=found, remedy="download all its files")
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise SourceError("config.json cannot be read", place=file, found=str(error)) from error
    kinds = config.get("architectures") or ["MobileViTForImageClassification"] if isinstance(config, dict) else []
    if not kinds or config.get("model_type") != "mobilevit" or "MobileViTForImageClassification" not in kinds:
        found = f"{config.get('model_type')}, {', '.join(map(str, kinds))}" if isinstance(config, dict) else "no object"
        limit = "model_type mobilevit, MobileViTForImageClassification"
        raise SourceError("the folder holds another architecture", place=file, limit=limit, found=found)
    return config


def class_names(config: Mapping[str, Any]) -> Sequence[str]:
    """Names by class number; empty when the configuration only counts them."""
    names = config.get("id2label") or {}
    try:
        ordered = [str(names[key]) for key in sorted(names, key=int)]
    except (TypeError, ValueError):
        return ()
    return () if all(name.startswith("LABEL_") for name in ordered) else ordered
