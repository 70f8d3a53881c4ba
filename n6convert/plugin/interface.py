"""What a model plugin implements.

A plugin is a class behind a name: an entry point in the group ``n6convert.models`` points to it. Only
:meth:`ModelPlugin.build` and :meth:`ModelPlugin.encode` are required; every further method a plugin implements makes
reports better (predictions, a metric, pictures).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict

from n6convert.errors import PluginError, SourceError
from n6convert.samples.base import Sample, SampleSource
from n6convert.types import Feeds, ModelInfo, Outputs, Progress, TensorInfo

if TYPE_CHECKING:
    import onnx_ir as ir
    from numpy.random import Generator
    from PIL.Image import Image

    from n6convert.metrics.base import Metric
    from n6convert.package.ports import Port
    from n6convert.rewrites import Rewrite

__all__ = [
    "API_VERSION",
    "BuildRequest",
    "Firmware",
    "FloatModel",
    "ModelInfo",
    "ModelPlugin",
    "PluginError",
    "PluginOptions",
    "Sample",
    "SampleSource",
    "SourceError",
    "TensorInfo",
    "Weights",
]

#: Version of this interface. A plugin states the version it was written for in ``api_version``; versions with the same
#: major number stay compatible, and what is to go is announced by a DeprecationWarning for one minor version first.
API_VERSION = (1, 2)

Prediction = Any


class PluginOptions(BaseModel):
    """Base of a plugin's own recipe section ``options``; unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


@dataclass(frozen=True)
class Weights:
    """Where the numbers come from.

    Attributes:
        kind: ``pretrained``, ``file`` or ``seeded``; never silently replaced by another.
        path: the file or folder, None for seeded weights.
        sha256: of the file, or of a folder's sorted file hashes; None for seeded weights.
        origin: what a reader should see: a URL, a hub id with revision, a path, "seeded(0)".
        license: SPDX identifier or a sentence, where known.
        trust: on whose word a downloaded file is the right one; equal on every run.
        files: sha256 of each downloaded file by name, where there are several.
        first_use: whether they were downloaded just now on a word that was not recorded before.
    """

    kind: str
    path: Path | None = None
    sha256: str | None = None
    origin: str = ""
    license: str | None = None
    trust: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    first_use: bool = False

    @property
    def trained(self) -> bool:
        """Whether they come from training."""
        return self.kind != "seeded"


@dataclass(frozen=True)
class BuildRequest:
    """What a plugin gets to build from.

    Attributes:
        weights: resolved weights; for ``seeded`` the plugin draws its own numbers from ``seed``.
        seed: makes seeded weights deterministic: same seed, same bytes.
        scratch: an empty folder for temporary files; deleted afterwards.
        progress: call ``progress(what, done, total)``; total may be None.
    """

    weights: Weights
    seed: int
    scratch: Path
    progress: Progress = field(default=lambda what, done, total: None)


@dataclass(frozen=True)
class FloatModel:
    """A float ONNX model with static shapes and batch 1.

    Attributes:
        model: float32 graph; input and output names are what ``encode`` and ``decode`` use.
        metadata: facts found while building (classes, strides, vocabulary ...), strings by key. They travel inside
            the ONNX file, so that a run that resumes from the cache knows them without building again. The key
            ``note`` is for people: a sentence that report and terminal show among the warnings.
        given: the quantized model that the float one was made from, with float inputs and outputs of the same names:
            the result is compared with it as well.
    """

    model: ir.Model
    metadata: Mapping[str, str] = field(default_factory=dict)
    given: ir.Model | None = None


@dataclass(frozen=True)
class Firmware:
    """What a plugin adds to the package for firmware.

    Attributes:
        sources: C99 files by name, without dependencies beyond the standard library and the package's own header.
        defines: ``#define`` lines for the package's header: anchors, classes, thresholds.
        configuration: further text files by name, such as ST's post-processing configuration.
        application: ``#define`` lines for ``app_config.h`` of ST's camera applications.
    """

    sources: Mapping[str, str] = field(default_factory=dict)
    defines: Sequence[str] = ()
    configuration: Mapping[str, str] = field(default_factory=dict)
    application: Sequence[str] = ()


class ModelPlugin(ABC):
    """One model family behind one or more names.

    The pipeline makes an instance with the name that was asked for and the checked options, calls :meth:`build`
    (unless the result is cached), sets :attr:`info`, calls :meth:`restore`, and then uses the other methods.
    """

    #: interface version the plugin was written for
    api_version: ClassVar[tuple[int, int]] = (1, 0)
    #: schema of the recipe's ``options`` section
    Options: ClassVar[type[PluginOptions]] = PluginOptions
    #: what samples are: ``image``, ``text`` or ``arrays``
    sample_kind: ClassVar[str] = "arrays"
    #: for ``image``: :meth:`encode` also takes arrays by input name, as the graph is fed with them
    takes_ready_inputs: ClassVar[bool] = False
    #: a sentence for ``n6convert models``
    summary: ClassVar[str] = ""
    #: license of the weights this family is published with, such as ``Apache-2.0 (Google)``; the model card names it
    #: beside weights of the user's own, which may descend from them
    published_license: ClassVar[str] = ""

    #: whether weights may be a folder (a Hugging Face checkpoint, a SavedModel)
    takes_folders: ClassVar[bool] = True

    def __init__(self, name: str, options: PluginOptions) -> None:
        self.name = name
        self.options = options
        self._info: ModelInfo | None = None

    @property
    def info(self) -> ModelInfo:
        """Interface and metadata of the built model; available from ``encode`` on."""
        if self._info is None:
            raise PluginError("the model's interface was asked for before the model was built", place=self.name)
        return self._info

    @info.setter
    def info(self, value: ModelInfo) -> None:
        """Set when the model was built or restored."""
        self._info = value

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        """Turn the recipe's ``weights`` into a file for kinds that only the plugin knows (``pretrained``).

        Called for every value except ``seeded`` and existing paths. Return None when the name is unknown.

        Raises:
            DownloadError: a pinned file cannot be fetched or has another sha256.
        """
        return None

    def check_folder(self, path: Path) -> None:
        """Look at a folder that was given as weights before it is hashed, which may take long.

        Raises:
            SourceError: it cannot hold weights of this model. Default: unless :attr:`takes_folders`.
        """
        if not self.takes_folders:
            raise SourceError(
                "the weights are a folder, and this model takes a file",
                place=path,
                limit="a file",
                remedy="give the file in it",
            )

    @abstractmethod
    def build(self, request: BuildRequest) -> FloatModel:
        """Build the float model.

        Raises:
            SourceError: the weights are damaged or of another architecture.
        """

    def restore(self, weights: Weights, seed: int) -> None:
        """Read again what :meth:`encode` and :meth:`artifacts` need besides the graph (tables, a tokenizer).

        Called once after :meth:`build`, or in its place when the float model came from the cache, with the same weights
        and seed; :attr:`info` is set. Default: nothing.
        """
        return None

    @abstractmethod
    def encode(self, sample: Sample) -> Feeds:
        """Turn a sample into the graph's inputs: arrays by input name, shapes and dtypes as in ``info.inputs``."""

    def samples(self) -> SampleSource:
        """Embedded calibration samples, used when the recipe names none. Default: synthetic ones of ``sample_kind``."""
        from n6convert.samples import synthetic_samples

        return synthetic_samples(self.sample_kind, self.info)

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Prediction:
        """Turn the graph's outputs into an answer; with the sample given, in the sample's own coordinates."""
        return dict(outputs)

    def metric(self) -> Metric | None:
        """How right predictions are on labeled samples; None when only SQNR against float can be reported."""
        return None

    def prepare(self, source: SampleSource) -> SampleSource:
        """Turn samples a user gave into what the model looks at: person crops out of labeled images, for instance.

        Called on every source the pipeline opens, calibration and evaluation alike. Default: the source itself.
        """
        return source

    def artifacts(self) -> Mapping[str, bytes]:
        """Files the package needs besides the graph, by file name: lookup tables, a vocabulary, C code that reads them.

        Called when the package is written, after :meth:`restore`.
        """
        return {}

    def rewrites(self) -> Sequence[Rewrite[Any]]:
        """Rules that only this family needs, tried before the built-in ones."""
        return ()

    def augment(self, sample: Sample, draw: Generator) -> Sample:
        """Another sample like this one, for training (:mod:`n6convert.tuning`); since version 1.2.

        The result keeps its label only where the change leaves it true; without labels any change will do that real
        inputs show. Default: images are mirrored, cropped and made lighter or darker, and lose their label.

        Args:
            draw: random numbers, the same for the same seed.
        """
        from n6convert.samples.variation import varied

        return varied(sample, draw) if self.sample_kind == "image" else sample

    def training_loss(self, outputs: Mapping[str, Any], sample: Sample) -> Any:
        """A loss of the task on a labeled sample, for training with ``tune.task_weight``; since version 1.2.

        Args:
            outputs: the graph's outputs by name, as torch tensors that carry gradients; use their methods, and import
                torch inside.
            sample: with its label.

        Returns:
            a torch tensor with one number, or None when the label says nothing. Default: None.
        """
        return None

    def draw(self, sample: Sample, *predictions: Prediction) -> Image | None:
        """A picture of the sample with each prediction side by side, for the report."""
        return None

    def firmware(self, stem: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> Firmware:
        """C that decodes the outputs on the board, written against the header ``<stem>.h`` of the package.

        Buffers hold what the package is compiled for, int8, uint8 or float32: the header has ``<stem>_output_t``, and
        ``scale * (q - zero_point)`` of its table is the real value for all three. Every symbol and file begins with the
        stem, so that several packages link into one firmware.

        Args:
            stem: prefix of the package's symbols and files.
            inputs: of the package, with their element type.
            outputs: of the package, with their element type.
        """
        return Firmware()
