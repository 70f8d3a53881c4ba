"""What plugins of this project bring to training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from n6convert.builtin.classifier import ImageClassifier  # noqa: E402
from n6convert.errors import SourceError  # noqa: E402
from n6convert.metrics.classification import class_loss  # noqa: E402
from n6convert.plugin import BuildRequest, FloatModel, ModelInfo, PluginOptions, Sample  # noqa: E402


class Classifier(ImageClassifier):
    def build(self, request: BuildRequest) -> FloatModel:
        raise NotImplementedError


@pytest.mark.parametrize(("label", "wanted"), [(2, 2), ("cat", 1), ({"class_index": "0"}, 0)])
def test_cross_entropy_of_a_label(label: object, wanted: int) -> None:
    scores = torch.tensor([[0.5, -1.0, 2.0]], requires_grad=True)
    loss = class_loss(scores, Sample("a", "text", label=label), ["dog", "cat", "cow"])
    values = np.array([0.5, -1.0, 2.0])
    assert float(loss.detach()) == pytest.approx(np.log(np.exp(values).sum()) - values[wanted], abs=1e-6)
    loss.backward()
    assert float(scores.grad[0, wanted]) < 0


def test_a_label_that_the_network_does_not_know_is_refused() -> None:
    with pytest.raises(SourceError, match="outside"):
        class_loss(torch.zeros(1, 3), Sample("a", "text", label=3))


def test_image_classifiers_keep_labels_and_judge_them() -> None:
    plugin = Classifier("classifier", PluginOptions())
    plugin.info = ModelInfo((), (), {"classes": '["dog", "cat"]'})
    picture = Sample("a", np.zeros((8, 8, 3), np.uint8), label="cat")
    assert plugin.augment(picture, np.random.default_rng(0)).label == "cat"
    scores = torch.zeros(1, 2, requires_grad=True)
    assert float(plugin.training_loss({"scores": scores}, picture).detach()) == pytest.approx(np.log(2))


def test_sentence_classifiers_judge_labels_and_encoders_do_not(tmp_path: Path) -> None:
    tinybert = pytest.importorskip("n6convert_tinybert")
    plugin = tinybert.TinyBert("tinybert", tinybert.TinyBertOptions())
    sentence, scores = Sample("a", "good", label=1), torch.zeros(1, 2, requires_grad=True)
    plugin.info = ModelInfo((), (), {"task": "classification", "labels": ""})
    assert float(plugin.training_loss({"logits": scores}, sentence).detach()) == pytest.approx(np.log(2))
    plugin.info = ModelInfo((), (), {"task": "embedding", "labels": ""})
    assert plugin.training_loss({"hidden": scores}, sentence) is None
