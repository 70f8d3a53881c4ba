"""Hugging Face folders: configuration, weights by name, tokenizer; read without torch and without transformers."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert_tinybert.embedding import Embedding, find_tables

__all__ = ["HuggingFaceFolder"]

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")
#: architectures whose embedding is tables plus a LayerNorm; those that count positions from the padding token's id
_ABSOLUTE = ("bert", "distilbert", "electra")
_AFTER_PADDING = ("roberta", "xlm-roberta", "camembert")
#: what BERT's own configurations have said since before there were model types
_BERT = {"hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "type_vocab_size"}
_TASKS = {"ForSequenceClassification": "classification", "ForMaskedLM": "tokens"}


@dataclass(frozen=True)
class HuggingFaceFolder:
    """A folder with ``config.json``, weights and a tokenizer, as ``save_pretrained`` writes it."""

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> HuggingFaceFolder:
        """Read the configuration.

        Raises:
            SourceError: no folder, no or a damaged ``config.json``, or an architecture that is not BERT-like.
        """
        if not path.is_dir():
            raise SourceError(
                "text models are read from Hugging Face folders",
                place=path,
                limit=f"a folder with config.json, {' or '.join(_WEIGHTS)}, and tokenizer.json or vocab.txt",
                found="a file",
                remedy=f"--weights {path.parent}" if (path.parent / "config.json").is_file() else None,
            )
        config = _json(path / "config.json")
        if not config.get("model_type") and config.keys() >= _BERT:
            config["model_type"] = "bert"
        folder = cls(path, config)
        kind = folder.config.get("model_type")
        if kind not in _ABSOLUTE + _AFTER_PADDING:
            raise SourceError(
                "the architecture is not BERT-like",
                place=path / "config.json",
                limit=", ".join(_ABSOLUTE + _AFTER_PADDING),
                found=f"model_type {kind}" if kind else "no model_type",
                remedy=None if kind else 'add "model_type": "bert" if it is one',
            )
        return folder

    def staged(self, scratch: Path) -> Path:
        """A folder that transformers reads: this one, or a copy whose configuration has a model type."""
        if _json(self.path / "config.json").get("model_type"):
            return self.path
        folder = scratch / "with-model-type"
        folder.mkdir()
        for file in self.path.iterdir():
            if file.is_file() and file.name != "config.json":
                shutil.copyfile(file, folder / file.name)
        (folder / "config.json").write_text(json.dumps(self.config), encoding="utf-8")
        return folder

    @property
    def task(self) -> str:
        """What the model was made for: ``classification``, ``tokens`` or ``embedding``."""
        names = self.config.get("architectures") or [""]
        return next((task for end, task in _TASKS.items() if str(names[0]).endswith(end)), "embedding")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        names = self.config.get("id2label") or {}
        return tuple(str(names[key]) for key in sorted(names, key=int))

    def embedding(self, sequence: int) -> Embedding:
        """Tables for a sequence length.

        Raises:
            SourceError: weights or tables are missing or damaged, or the sequence is too long for them.
        """
        after = self.config["model_type"] in _AFTER_PADDING
        return find_tables(
            self.tensors(),
            sequence,
            epsilon=float(self.config.get("layer_norm_eps", 1e-12)),
            first=int(self.config.get("pad_token_id", 1)) + 1 if after else 0,
            place=self.path,
        )

    def tensors(self) -> dict[str, NDArray[np.float32]]:
        """Weights by name.

        Raises:
            SourceError: there are none, or they are damaged or want to run code.
        """
        from n6convert.plugin.checkpoints import load_tensors, what_is
        from n6convert_tinybert.legacy import resaved

        files = [self.path / name for name in _WEIGHTS if (self.path / name).is_file()]
        if not files:
            found = ", ".join(sorted(p.name for p in self.path.iterdir())[:8])
            raise SourceError("the folder holds no weights", place=self.path, limit=" or ".join(_WEIGHTS), found=found)
        if what_is(files[0]) == "torch-legacy":
            return resaved(files[0])
        return load_tensors(files[0])


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        there = ", ".join(sorted(p.name for p in path.parent.iterdir())[:8]) or "an empty folder"
        limit = "a Hugging Face folder as save_pretrained writes it"
        raise SourceError(f"the folder has no {path.name}", place=path.parent, limit=limit, found=there) from None
    except (OSError, ValueError, RecursionError) as error:
        raise SourceError(f"{path.name} cannot be read", place=path, found=error) from error
    if not isinstance(content, dict):
        raise SourceError(f"{path.name} is not a json object", place=path, found=type(content).__name__)
    return content
