"""COCO files written here and read back, and each part of them damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n6convert.errors import SourceError
from n6convert.samples.coco import CocoImages


def _content() -> dict[str, Any]:
    return {
        "images": [{"id": 7, "file_name": "b.png"}, {"id": "3", "file_name": "a.png"}, {"id": 9, "file_name": "c.png"}],
        "annotations": [
            {"image_id": 3, "category_id": 1, "bbox": [1, 2, 3, 4]},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 1, 1]},
            {"image_id": 3, "category_id": 2, "bbox": [5, 6, 7, 8]},
            {"image_id": 1000, "category_id": 2, "bbox": [5, 6, 7, 8]},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": "2", "name": "dog"}],
    }


def _write(folder: Path, content: Any) -> Path:
    for name in "abc":
        Image.fromarray(np.full((4, 4, 3), ord(name), np.uint8)).save(folder / f"{name}.png")
    path = folder / "labels.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_images_come_by_name_with_their_own_annotations(tmp_path: Path) -> None:
    source = CocoImages(_write(tmp_path, _content()))
    found = list(source)
    assert [s.id for s in found] == ["a.png", "b.png", "c.png"]
    assert [int(s.data[0, 0, 0]) for s in found] == [ord(n) for n in "abc"]  # type: ignore[index,call-overload]
    labels = [s.label for s in found]
    assert [label.image_id for label in labels] == [3, 7, 9]
    assert [[a["bbox"] for a in label.annotations] for label in labels] == [
        [[1, 2, 3, 4], [5, 6, 7, 8]], [[0, 0, 1, 1]], [],
    ]  # fmt: skip
    assert labels[0].categories == {1: "cat", 2: "dog"}
    assert source.paths() == [tmp_path / f"{n}.png" for n in "abc"]


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    content = _content()
    first = [(s.id, s.label.image_id) for s in CocoImages(_write(tmp_path, content))]
    content["images"].reverse()
    assert [(s.id, s.label.image_id) for s in CocoImages(_write(tmp_path, content))] == first


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"images": []}, "no images in it"), ({"images": None}, "no images"), ({"annotations": {}}, "no annotations"),
        ({"categories": 3}, "no categories"), ({"images": [{"id": 1}]}, "file_name"),
        ({"images": [{"file_name": "a.png", "id": "x"}]}, "ValueError"), ({"images": [7]}, "TypeError"),
        ({"annotations": [{"bbox": [1]}]}, "image_id"), ({"annotations": [None]}, "TypeError"),
        ({"categories": [{"id": 1}]}, "name"), ({"categories": [{"id": None, "name": "x"}]}, "TypeError"),
    ],
)  # fmt: skip
def test_each_part_must_have_its_form(change: dict[str, Any], found: str, tmp_path: Path) -> None:
    path = _write(tmp_path, _content() | change)
    with pytest.raises(SourceError, match="not in COCO form") as caught:
        CocoImages(path)
    assert caught.value.place == path and found in str(caught.value.found)


@pytest.mark.parametrize("text", ["", "{", '{"images": [', "nul"])
def test_damaged_json(text: str, tmp_path: Path) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(SourceError, match="not valid json") as caught:
        CocoImages(path)
    assert caught.value.place == path


def test_an_image_that_is_missing_is_skipped(tmp_path: Path) -> None:
    path = _write(tmp_path, _content())
    (tmp_path / "b.png").unlink()
    source = CocoImages(path, max_unreadable=0.5)
    assert [s.id for s in source] == ["a.png", "c.png"] and list(source.unreadable) == ["b.png"]
