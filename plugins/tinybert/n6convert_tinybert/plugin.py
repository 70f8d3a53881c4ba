"""The plugin class behind ``tinybert``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from n6convert.errors import SourceError
from n6convert.plugin import (
    BuildRequest,
    Feeds,
    Firmware,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Sample,
    Weights,
)
from n6convert.plugin.metrics import Classes, Classification, EmbeddingAgreement, Metric, class_loss, rank
from n6convert_tinybert.architecture import Shape, build_encoder, seeded_embedding
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.folder import HuggingFaceFolder
from n6convert_tinybert.surgery import EMBEDDED, MASK
from n6convert_tinybert.tokens import HashedTokens, TextTokens, folder_tokens

if TYPE_CHECKING:
    from n6convert.plugin.firmware import Port

__all__ = ["TinyBert", "TinyBertOptions"]

Task = Literal["classification", "embedding", "tokens"]
_HUB = "huawei-noah/TinyBERT_General_4L_312D"
_FILES = ("pytorch_model.bin", "config.json", "vocab.txt")
_REVISION = "34707a33cd59a94ecde241ac209bf35103691b43"
#: optimum's name of each task, and what the exported model calls the answer
_EXPORTS: dict[str, tuple[str, str]] = {
    "classification": ("text-classification", "logits"),
    "embedding": ("feature-extraction", "last_hidden_state"),
    "tokens": ("fill-mask", "logits"),
}


class TinyBertOptions(PluginOptions):
    """Options of the BERT-like models."""

    sequence: int = Field(128, ge=4, le=2048, description="number of tokens a text is cut or padded to")
    task: Task | None = Field(
        None,
        description="`classification`, `embedding` (hidden states; decoding takes their mean) or `tokens` (scores over "
        "the vocabulary for every token); null: what the weights were made for, classification for seeded ones",
    )
    mask: float = Field(
        -16.0, lt=0, ge=-100, description="added to the attention scores of padding; large values coarsen the int8 grid"
    )
    table: Literal["float32", "int8"] = Field("float32", description="type of the packaged word table")
    layers: int = Field(4, ge=1, le=48, description="seeded weights only: encoder layers")
    hidden: int = Field(312, ge=8, description="seeded weights only: width")
    heads: int = Field(12, ge=1, description="seeded weights only: attention heads")
    intermediate: int = Field(1200, ge=8, description="seeded weights only: width inside the feed-forward part")
    vocabulary: int = Field(30522, ge=2, description="seeded weights only: rows of the word table")

    @model_validator(mode="after")
    def _whole_heads(self) -> TinyBertOptions:
        if self.hidden % self.heads:
            raise ValueError(f"hidden ({self.hidden}) must be a multiple of heads ({self.heads})")
        return self


class TinyBert(ModelPlugin):
    """A BERT-like encoder whose embedding is looked up outside the graph."""

    Options: ClassVar[type[PluginOptions]] = TinyBertOptions
    sample_kind: ClassVar[str] = "text"
    summary: ClassVar[str] = "TinyBERT and other BERT-like text encoders"

    options: TinyBertOptions

    def __init__(self, name: str, options: PluginOptions) -> None:
        super().__init__(name, options)
        self._embedding: Embedding | None = None
        self._tokens: TextTokens | HashedTokens | None = None
        self._padding = 0
        self._files: dict[str, bytes] = {}

    def check_folder(self, path: Path) -> None:
        """The folder's configuration is that of a text model."""
        HuggingFaceFolder.open(path)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        if weights != "pretrained":
            return None
        from n6convert.plugin.weights import HubModel, fetch_hub

        return fetch_hub(HubModel(_HUB, _FILES, _REVISION, "Apache-2.0 (Huawei Noah's Ark Lab)"), cache)

    def build(self, request: BuildRequest) -> FloatModel:
        if request.weights.kind == "seeded":
            shape = self._shape()
            model = build_encoder(shape, request.seed)
            return FloatModel(model, {"task": shape.head, "labels": ""})
        return self._exported(request)

    def _shape(self) -> Shape:
        o = self.options
        task = o.task or "classification"
        return Shape(o.layers, o.hidden, o.heads, o.intermediate, o.vocabulary, o.sequence, task)

    def _exported(self, request: BuildRequest) -> FloatModel:
        from n6convert_tinybert.export import export_graph
        from n6convert_tinybert.proof import check_cut
        from n6convert_tinybert.surgery import cut_encoder

        folder = HuggingFaceFolder.open(_path(request.weights))
        task = self.options.task or folder.task
        sequence = self.options.sequence
        embedding = folder.embedding(sequence)
        name, answer = _EXPORTS[task]
        request.progress(f"exporting {folder.path.name} with optimum", 0, None)
        whole = export_graph(folder.staged(request.scratch), name, sequence, request.scratch)
        cut = cut_encoder(whole.clone(), sequence, (answer,))
        cut.graph.outputs[0].name = "hidden" if task == "embedding" else "logits"
        check_cut(whole, cut, embedding, answer, self.options.mask, folder.path)
        return FloatModel(cut, {"task": task, "labels": "\n".join(folder.labels)})

    def restore(self, weights: Weights, seed: int) -> None:
        if weights.kind == "seeded":
            self._embedding = seeded_embedding(self._shape(), seed)
            self._tokens = HashedTokens(self.options.vocabulary, self.options.sequence)
        else:
            folder = HuggingFaceFolder.open(_path(weights))
            self._embedding = folder.embedding(self.options.sequence)
            self._padding = int(folder.config.get("pad_token_id") or 0)
            self._tokens = folder_tokens(folder.path, self.options.sequence, self._padding)
            self._files = {n: (folder.path / n).read_bytes() for n in ("vocab.txt",) if (folder.path / n).is_file()}
        if self.options.table == "int8":
            self._embedding = self._embedding.rounded()

    def encode(self, sample: Sample) -> Feeds:
        ids, real = self._tokenized(sample)
        assert self._embedding is not None
        mask = np.where(real, 0, self.options.mask).astype(np.float32)
        return {EMBEDDED: self._embedding(ids), MASK: mask[None, None, None]}

    def _tokenized(self, sample: Sample) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if self._tokens is None:
            raise SourceError("the tokenizer was asked for before the weights were read", place=self.name)
        if not isinstance(sample.data, str):
            raise SourceError("text models take sentences", place=sample.id, found=type(sample.data).__name__)
        return self._tokens(sample.data)

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Classes | NDArray[Any]:
        """Classes by score; the mean hidden state of the sample's tokens [D]; or the best token at each place [S]."""
        if "hidden" in outputs:
            hidden = np.asarray(outputs["hidden"][0], np.float64)
            real = self._tokenized(sample)[1] if sample is not None else np.ones(len(hidden), bool)
            return np.asarray(hidden[real].mean(0))
        if self.info.metadata["task"] == "tokens":
            return np.asarray(outputs["logits"][0].argmax(-1))
        return rank(outputs["logits"], names=self._labels)

    @property
    def _labels(self) -> tuple[str, ...]:
        return tuple(filter(None, self.info.metadata["labels"].split("\n")))

    def metric(self) -> Metric | None:
        makers = {"classification": lambda: Classification(self._labels), "embedding": EmbeddingAgreement}
        make = makers.get(self.info.metadata["task"])
        return make() if make is not None else None

    def training_loss(self, outputs: Mapping[str, Any], sample: Sample) -> Any:
        """Cross entropy of a classifier's scores; None for other tasks."""
        classifies = self.info.metadata["task"] == "classification"
        return class_loss(outputs["logits"], sample, self._labels) if classifies else None

    def artifacts(self) -> Mapping[str, bytes]:
        from n6convert_tinybert.board import embedding_tables

        assert self._embedding is not None
        return embedding_tables(self._embedding, self.options.table) | self._files

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that looks tokens up in the tables and writes the inputs."""
        from n6convert_tinybert.board import embedding_firmware

        assert self._embedding is not None
        options = self.options
        return embedding_firmware(stem, self._embedding, options.table, options.mask, self._padding)


def _path(weights: Weights) -> Path:
    assert weights.path is not None
    return weights.path
