"""What image classifiers share: encoding by an image format, ranked classes as answers, top-1, pictures."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from n6convert.builtin.images import ImageFormat
from n6convert.errors import SourceError
from n6convert.metrics.class_folders import by_folder
from n6convert.metrics.classification import Classes, Classification, class_loss, rank
from n6convert.plugin import Feeds, ModelPlugin, Outputs, Sample, SampleSource

if TYPE_CHECKING:
    from numpy.random import Generator
    from PIL.Image import Image

__all__ = ["ImageClassifier", "ImageFormat"]


class ImageClassifier(ModelPlugin):
    """Base of plugins whose model maps one image to class scores ``[1, classes]``.

    ``build`` puts :meth:`facts` into its metadata; the rest follows from them.
    """

    sample_kind: ClassVar[str] = "image"

    @staticmethod
    def facts(form: ImageFormat, names: Sequence[str] = ()) -> dict[str, str]:
        """Metadata of a classifier: how images are encoded, and the names of its classes where they are known."""
        return {"image": form.to_json(), "classes": json.dumps(list(names))}

    def encode(self, sample: Sample) -> Feeds:
        """The image as the input's float32 ``[1, 3, h, w]``."""
        if not isinstance(sample.data, np.ndarray):
            raise SourceError("the sample is no image", place=sample.id)
        form = ImageFormat.from_json(self.info.metadata["image"])
        name = self.info.inputs[0].name
        return {name: form.encode(sample.data, name)}

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Classes:
        """The five best classes."""
        return rank(next(iter(outputs.values())), 5, self.class_names())

    def metric(self) -> Classification:
        """Top-1 and top-5 accuracy."""
        return Classification(self.class_names())

    def training_loss(self, outputs: Mapping[str, Any], sample: Sample) -> Any:
        """Cross entropy of the class scores."""
        return class_loss(next(iter(outputs.values())), sample, self.class_names())

    def augment(self, sample: Sample, draw: Generator) -> Sample:
        """The image mirrored, cropped, lighter or darker; its class stays true."""
        return replace(super().augment(sample, draw), label=sample.label)

    def prepare(self, source: SampleSource) -> SampleSource:
        """Labels from one folder per class, where the images lie so."""
        return by_folder(source, self.class_names(), self.info.outputs[0].shape[-1])

    def draw(self, sample: Sample, *predictions: Any) -> Image | None:
        """The sample once for each prediction, its best class above: float first, then INT8."""
        from PIL import Image

        from n6convert.imaging import side_by_side

        picture = Image.fromarray(np.asarray(sample.data)).convert("RGB")
        kinds = ("float", "INT8", *(f"prediction {i}" for i in range(3, len(predictions) + 1)))
        titles = [f"{kind}: {str(found).split(', ')[0]}" for kind, found in zip(kinds, predictions, strict=False)]
        return side_by_side([picture] * len(predictions), titles)

    def class_names(self) -> Sequence[str]:
        """Names by class number; empty when unknown."""
        return [str(name) for name in json.loads(self.info.metadata.get("classes", "[]"))]
