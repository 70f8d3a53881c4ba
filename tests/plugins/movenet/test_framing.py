"""Squares cut out of images: where points go and come back, and which persons count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from n6convert_movenet.framing import PersonCrops, Square, crop_square

from n6convert.plugin import Sample, SampleSource, SourceError
from n6convert.plugin.samples import CocoLabel
from tests.onnx_text import Array

NAMES = ("left_ankle", "nose", "right_wrist", "left_eye", "right_eye", "left_hip")
PLACES = (15, 0, 10, 1, 2, 11)  # of COCO's order


class _Listed(SampleSource):
    name = "listed"

    def __init__(self, *samples: Sample) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    def warnings(self) -> list[str]:
        return ["too few"]


def _picture(height: int = 40, width: int = 60) -> Array:
    return np.random.default_rng(2).integers(1, 256, (height, width, 3)).astype(np.uint8)


def _keypoints(labeled: int) -> list[float]:
    """x, y and visibility of 17 points, of which the first of NAMES are labeled."""
    found = [0.0] * 51
    for index, place in enumerate(PLACES[:labeled]):
        found[3 * place : 3 * place + 3] = [10 + index, 20 + 2 * index, 1 + index % 2]
    return found


def _person(labeled: int = 6, **more: Any) -> dict[str, Any]:
    return {"bbox": [10, 10, 20, 10], "area": 90, "keypoints": _keypoints(labeled), "category_id": 1} | more


def _crops(*persons: dict[str, Any], image: Array | None = None) -> PersonCrops:
    label = CocoLabel(7, persons, {1: "person"})
    return PersonCrops(_Listed(Sample("a.jpg", _picture() if image is None else image, label)), NAMES)


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((10, 20, 30, 10), 1.0, (10, 10, 30)),
        ((10, 20, 10, 30), 1.0, (0, 20, 30)),
        ((0, 0, 100, 100), 1.1, (-5, -5, 110)),
        ((5, 5, 0, 0), 2.0, (4, 4, 2)),  # a point gets a square of one pixel
        ((5, 5, 0.2, 0.1), 1.0, (4.6, 4.55, 1)),
    ],
)
def test_the_square_has_the_boxs_middle_and_longer_side(
    box: tuple[float, ...], margin: float, expected: tuple[float, ...]
) -> None:
    found = Square.around(box, margin)
    assert (found.left, found.top, found.side) == pytest.approx(expected)
    corners = found.to_image(np.array([[0, 0, 0.3], [1, 1, 0.4], [0.5, 0.5, 0.5]]))
    np.testing.assert_allclose(corners[2, :2], [box[0] + box[2] / 2, box[1] + box[3] / 2])
    np.testing.assert_allclose(corners[1, :2] - corners[0, :2], found.side)
    assert corners[:, 2].tolist() == [0.3, 0.4, 0.5]


def test_shares_are_left_as_they_were() -> None:
    shares = np.array([[0.25, 0.5]], np.float32)
    Square(10, 20, 40).to_image(shares)
    assert shares.tolist() == [[0.25, 0.5]]


@pytest.mark.parametrize(("left", "top", "side"), [(5, 6, 20), (-8, -4, 30), (50, 30, 20), (-10, 10, 12), (0, 0, 60)])
def test_without_a_change_of_size_pixels_are_copied_and_black_outside(left: int, top: int, side: int) -> None:
    image = _picture()
    expected = np.zeros((side, side, 3), np.uint8)
    for y, x in np.ndindex(side, side):
        if 0 <= y + top < 40 and 0 <= x + left < 60:
            expected[y, x] = image[y + top, x + left]
    np.testing.assert_array_equal(crop_square(image, Square(left + 0.2, top - 0.2, side + 0.4), side), expected)


@pytest.mark.parametrize("size", [1, 8, 33])
def test_an_even_image_stays_even_at_any_size(size: int) -> None:
    image = np.full((40, 60, 3), (200, 10, 90), np.uint8)
    found = crop_square(image, Square(4, 4, 30), size)
    assert found.shape == (size, size, 3) and (found == (200, 10, 90)).all()
    outside = crop_square(image, Square(100, 100, 30), size)
    assert not outside.any()


def test_points_of_a_crop_are_those_of_the_image() -> None:
    image = _picture()
    (crop,) = _crops(_person(), image=image)
    assert isinstance(crop.data, np.ndarray)
    assert crop.id == "a.jpg#0" and crop.data.shape == (22, 22, 3)
    left, top = crop.extra["origin"]
    assert (left, top, crop.extra["image"], crop.label["area"]) == (9, 4, "a.jpg", 90.0)
    assert crop.label["keypoints"].tolist() == [[10 + i - left, 20 + 2 * i - top, 1 + i % 2] for i in range(len(NAMES))]
    for x, y, _ in crop.label["keypoints"]:
        inside = 0 <= x < 22 and 0 <= y < 22
        assert not inside or (crop.data[int(y), int(x)] == image[int(y) + top, int(x) + left]).all()


@pytest.mark.parametrize(
    ("persons", "count"),
    [
        ([], 0),
        ([_person(5)], 1),
        ([_person(4)], 0),
        ([_person(iscrowd=1)], 0),
        ([_person(iscrowd=0), _person(3), _person()], 2),
        ([{"bbox": [1, 2, 3, 4]}], 0),
        ([_person(keypoints=[])], 0),
        ([_person(keypoints=None)], 0),
        # labeled points that the model does not have do not count
        ([_person(keypoints=[0.0] * 9 + [1.0] * 21 + [0.0] * 21)], 0),
    ],
)
def test_only_persons_with_enough_of_the_models_points_count(persons: list[dict[str, Any]], count: int) -> None:
    found = _crops(*persons)
    assert len(found) == count == len(list(found)) == len(list(found))
    assert found.warnings() == ["too few"] and found.name == "persons of listed"


def test_samples_without_such_labels_pass() -> None:
    samples = [Sample("x", _picture()), Sample("y", _picture(), {"keypoints": 1}), Sample("z", _picture(), 3)]
    found = list(PersonCrops(_Listed(*samples), NAMES))
    assert all(a is b for a, b in zip(found, samples, strict=True))


def test_without_an_area_the_boxs_counts() -> None:
    person = _person()
    del person["area"]
    (crop,) = _crops(person)
    assert crop.label["area"] == 200


@pytest.mark.parametrize(
    "change",
    [
        {"bbox": None},
        {"bbox": [1, 2, 3]},
        {"bbox": ["a", 1, 2, 3]},
        {"bbox": [0, 0, float("nan"), 3]},
        {"bbox": [0, 0, 1e9, 1e9]},
        {"bbox": [-1e9, 0, 5, 5]},
        {"area": "large"},
        {"area": None},
        {"area": float("inf")},
    ],
)
def test_a_person_without_a_usable_box_is_named_with_its_image(change: dict[str, Any]) -> None:
    with pytest.raises(SourceError, match=r"(?s)annotation is incomplete.*image a\.jpg.*bbox"):
        list(_crops(_person(**change)))


def test_another_number_of_points_is_named() -> None:
    with pytest.raises(SourceError, match="COCO person keypoints"):
        list(_crops(_person(keypoints=[1.0] * 12)))
