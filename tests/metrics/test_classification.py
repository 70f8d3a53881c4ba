"""Top-1 and top-5, and what counts as a label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n6convert.errors import SourceError
from n6convert.metrics.base import bootstrap
from n6convert.metrics.class_folders import by_folder, folder_classes
from n6convert.metrics.classification import Classification, class_of, rank
from n6convert.samples import open_samples
from n6convert.samples.base import Sample

IMAGE = np.zeros((2, 2, 3), np.uint8)


def test_ranks_with_ties_by_class_number() -> None:
    best = rank(np.array([[0.1, 0.7, 0.7, 0.2]]), 3, ["a", "b", "c", "d"])
    assert best.indices == (1, 2, 3) and best.names == ("b", "c", "d") and best.total == 4
    assert str(best).startswith("b (0.7)")
    assert rank(np.zeros((1, 3, 1, 1))).indices == (0, 1, 2)


def test_accuracy_over_samples() -> None:
    metric = Classification()
    scores = np.arange(8.0)[None]
    for label in (7, 7, 3, 0):
        metric.add(Sample(str(label), IMAGE, label), rank(scores, 5))
    score = metric.score()
    assert (score.value, score.details["top-5"], score.samples) == (0.5, 0.75, 4)
    interval = bootstrap(score)
    assert interval is not None and interval.low <= 0.5 <= interval.high


@pytest.mark.parametrize("label", [2, "2", "cat", {"class_index": "2"}, {"file": "a.jpg", "label": "cat"}, np.int64(2)])
def test_labels(label: object) -> None:
    assert class_of(Sample("s", IMAGE, label), ["dog", "bird", "cat"]) == 2


@pytest.mark.parametrize("label", [None, "lion", {}, {"boxes": []}])
def test_what_is_no_label_is_refused(label: object) -> None:
    with pytest.raises(SourceError, match="no class label"):
        class_of(Sample("s", IMAGE, label), ["dog"])


def test_label_outside_the_network_and_nothing_at_all() -> None:
    with pytest.raises(SourceError, match="outside"):
        Classification().add(Sample("s", IMAGE, 9), rank(np.zeros((1, 3))))
    with pytest.raises(SourceError, match="no labeled samples"):
        Classification().score()


@pytest.mark.parametrize(
    ("folders", "names", "total", "expected"),
    [
        (["cat", "dog"], ["dog", "bird", "cat"], 3, {"cat": 2, "dog": 0}),
        (["1", "10"], [], 11, {"1": 1, "10": 10}),
        (["n01", "n02"], [], 2, {"n01": 0, "n02": 1}),
        (["n01", "n02"], [], 3, {}),
        (["12"], [], 11, {}),
        ([], [], 2, {}),
    ],
)
def test_folders_as_classes(folders: list[str], names: list[str], total: int, expected: dict[str, int]) -> None:
    assert folder_classes(folders, names, total) == expected


def test_images_in_folders_get_labels(tmp_path: Path) -> None:
    for number, folder in enumerate(("b", "a")):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4, 3), number * 90, np.uint8)).save(tmp_path / folder / "x.png")
    source = open_samples(tmp_path, "image")
    assert [(s.id, s.label) for s in by_folder(source, [], 2)] == [("a/x.png", 0), ("b/x.png", 1)]
    assert by_folder(source, [], 5) is source and len(by_folder(source, [], 2)) == 2
