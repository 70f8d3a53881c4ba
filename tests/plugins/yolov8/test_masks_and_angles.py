"""Masks and oriented boxes against numbers worked out another way."""

from __future__ import annotations

import math

import numpy as np
import pytest
from n6convert_yolov8.decode import Candidates, HeadFacts, decode_head
from n6convert_yolov8.detections import Detections, placed, suppress
from n6convert_yolov8.oriented import corners, likeness
from n6convert_yolov8.pictures import draw_detections

SIZE = (64, 96)


def cut(**more: tuple[int, ...]) -> dict[str, np.ndarray]:
    outputs = {}
    for stride in (8, 16, 32):
        cells = (SIZE[0] // stride, SIZE[1] // stride)
        outputs[f"boxes_{stride}"] = np.zeros((1, 4, *cells), np.float32)
        outputs[f"scores_{stride}"] = np.full((1, 2, *cells), -7, np.float32)
        outputs |= {f"{kind}_{stride}": np.zeros((1, *shape, *cells), np.float32) for kind, shape in more.items()}
    return outputs


def found(
    outputs: dict[str, np.ndarray], facts: HeadFacts | None = None, image: tuple[int, int] | None = None
) -> Detections:
    candidates = decode_head(outputs, SIZE, facts)
    return placed(candidates, suppress(candidates, confidence=0.5, iou=0.5, limit=9), SIZE, image)


def test_distances_without_distributions() -> None:
    """YOLO26: four distances in cells. Row 1, column 2 of stride 16: center (40, 24)."""
    outputs = cut()
    outputs["boxes_16"][0, :, 1, 2] = [1, 0.5, 2, -0.25]
    outputs["scores_16"][0, 1, 1, 2] = 2
    assert found(outputs).boxes.tolist() == [[40 - 16, 24 - 8, 40 + 32, 24 - 4]]


@pytest.mark.parametrize(("raw", "radians", "angle"), [(0.3, True, 0.3), (0.0, False, math.pi / 4)])
def test_an_oriented_box(raw: float, radians: bool, angle: float) -> None:
    """The middle of the distances is turned about the cell, the box about its own middle."""
    outputs = cut(angles=(1,))
    outputs["boxes_16"][0, :, 1, 2] = [1, 1, 3, 1]
    outputs["scores_16"][0, 0, 1, 2] = 3
    outputs["angles_16"][0, 0, 1, 2] = raw
    result = found(outputs, HeadFacts(oriented=True, radians=radians))
    c, s = math.cos(angle), math.sin(angle)
    x, y = 40 + 16 * c, 24 + 16 * s  # one cell along the box's own axis
    wanted = [
        [x + a * 32 * c - b * 16 * s, y + a * 32 * s + b * 16 * c] for a, b in ((1, 1), (-1, 1), (-1, -1), (1, -1))
    ]
    assert result.corners is not None
    np.testing.assert_allclose(result.corners[0], wanted, atol=1e-4)
    np.testing.assert_allclose(result.boxes[0], [*np.min(wanted, 0), *np.max(wanted, 0)], atol=1e-4)


def test_likeness_against_integrals() -> None:
    """ProbIoU is 1 minus Hellinger's distance of two normal distributions, which sums over a grid give as well."""
    boxes = np.array([[10, 20, 50, 40], [15, 15, 45, 50], [12, 20, 52, 40], [200, 20, 240, 40]], float)
    angles = np.array([0.4, -0.9, 0.5, 0.4])
    every = likeness(boxes[0], angles[0], boxes, angles)
    y, x = np.mgrid[-60:120:0.5, -60:160:0.5]

    def density(box: np.ndarray, angle: float) -> np.ndarray:
        u, v = x - (box[0] + box[2]) / 2, y - (box[1] + box[3]) / 2
        along, across = u * math.cos(angle) + v * math.sin(angle), v * math.cos(angle) - u * math.sin(angle)
        wide, high = (box[2] - box[0]) ** 2 / 12, (box[3] - box[1]) ** 2 / 12
        return np.exp(-(along**2 / wide + across**2 / high) / 2) / (2 * math.pi * math.sqrt(wide * high))

    for i in (0, 1, 2):
        common = float(np.sqrt(density(boxes[0], angles[0]) * density(boxes[i], angles[i])).sum() * 0.25)
        assert every[i] == pytest.approx(1 - math.sqrt(max(1 - common, 0)), abs=0.02)
    assert every[0] > 0.99 and every[3] < 0.01
    assert likeness(boxes[1], angles[1], boxes[:1], angles[:1])[0] == pytest.approx(every[1])


def test_a_turned_square_is_alike_and_suppressed_within_its_class() -> None:
    boxes = np.array([[10, 10, 30, 30], [10, 10, 30, 30], [10, 10, 30, 30]], np.float32)
    scores = np.array([[0.9, 0], [0.8, 0], [0, 0.7]], np.float32)
    candidates = Candidates(boxes, scores, angles=np.array([0, math.pi / 2, 0], np.float32))
    kept = suppress(candidates, confidence=0.5, iou=0.5, limit=9)
    assert kept.rows.tolist() == [0, 2]
    assert suppress(candidates, confidence=0.5, iou=None, limit=9).rows.tolist() == [0, 1, 2]


def test_masks_in_the_image_that_was_letterboxed() -> None:
    """A prototype that is positive right of the input's column 48, which is column 24 of a 32 x 48 image."""
    outputs = cut(masks=(32,))
    outputs["boxes_32"][0, :, 1, 1] = [1.5, 1.5, 1.5, 0.5]  # the whole input, cell (48, 48)
    outputs["scores_32"][0, 0, 1, 1] = 3
    outputs["masks_32"][0, 5, 1, 1] = 2
    prototypes = np.zeros((1, 32, 16, 24), np.float32)
    prototypes[0, 5] = np.arange(24) + 0.5 - 12  # zero at column 12 of 24
    outputs["prototypes"] = prototypes
    result = found(outputs, image=(32, 48))
    assert result.masks is not None and result.masks.shape == (1, 32, 48)
    wanted = np.zeros((32, 48), bool)
    wanted[:, 24:] = True
    assert np.array_equal(result.masks[0], wanted)
    last = {k: v.transpose(0, 2, 3, 1) for k, v in outputs.items()}
    turned = found(last, image=(32, 48)).masks
    assert turned is not None and np.array_equal(turned, result.masks)
    assert result.above(0.99).masks is not None and len(result.above(0.99)) == 0


def test_masks_stay_inside_their_boxes() -> None:
    outputs = cut(masks=(32,))
    outputs["boxes_8"][0, :, 3, 5] = [1, 1, 1, 1]  # center (44, 28), 16 pixels each way
    outputs["scores_8"][0, 0, 3, 5] = 3
    outputs["masks_8"][0, 0, 3, 5] = 1
    outputs["prototypes"] = np.ones((1, 32, 16, 24), np.float32)
    result = found(outputs)
    assert result.masks is not None
    rows, columns = np.nonzero(result.masks[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (20, 35, 36, 51)


def test_pictures_of_masks_and_oriented_boxes() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    mask = np.zeros((1, 60, 80), bool)
    mask[0, 30:50, 20:40] = True
    box = np.array([[20, 30, 40, 50]], np.float32)
    around = corners(box, np.array([math.pi / 4]))
    tinted = Detections(box, np.array([0.9]), np.array([0]), masks=mask)
    turned = Detections(box, np.array([0.9]), np.array([0]), corners=around)
    sheet = np.asarray(draw_detections(image, [tinted, turned], ["thing"]))
    left, right = sheet[18:, :80], sheet[18:, 88:]
    assert left[45, 30].any() and not left[45, 60].any()
    x, y = np.round(around[0, 0]).astype(int)
    assert right[y - 2 : y + 3, x - 2 : x + 3].any() and not right[49, 39].any()
