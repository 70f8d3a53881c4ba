"""Letterboxing and drawing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from n6convert.imaging import Letterbox, as_rgb, color, draw_boxes, draw_points, letterbox, resize, side_by_side


def picture(*size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)


@pytest.mark.parametrize("size", [(480, 640), (640, 480), (33, 500), (1, 1), (640, 640), (427, 640)])
@pytest.mark.parametrize("canvas", [(640, 640), (256, 320), (32, 32)])
def test_letterbox_keeps_aspect_and_comes_back(size: tuple[int, int], canvas: tuple[int, int]) -> None:
    image, place = letterbox(picture(*size), canvas)
    assert image.shape == (*canvas, 3) and image.dtype == np.uint8
    assert max(place.inner[0] / canvas[0], place.inner[1] / canvas[1]) == 1
    corners = np.array([[place.left, place.top, place.left + place.inner[1], place.top + place.inner[0]]], np.float32)
    assert place.to_image(corners)[0] == pytest.approx([0, 0, size[1], size[0]], abs=0.51 / place.scale)
    outside = np.ones(canvas, bool)
    outside[place.top : place.top + place.inner[0], place.left : place.left + place.inner[1]] = False
    assert (image[outside] == 114).all()
    assert (
        abs(canvas[0] - place.inner[0] - 2 * place.top) <= 1 and abs(canvas[1] - place.inner[1] - 2 * place.left) <= 1
    )


def test_same_size_passes_untouched() -> None:
    image = picture(64, 96)
    assert np.array_equal(letterbox(image, (64, 96))[0], image) and resize(image, (64, 96)) is image


def test_to_image_takes_points_and_boxes() -> None:
    place = Letterbox(0.5, 10, 20, (1, 1))
    points = np.array([[[10, 20], [11, 22]]], np.float32)
    assert place.to_image(points).tolist() == [[[0, 0], [2, 4]]]
    assert place.to_image(np.zeros((0, 4), np.float32)).shape == (0, 4)


def test_gray_and_alpha_become_rgb() -> None:
    gray = picture(4, 5)[..., 0]
    assert np.array_equal(as_rgb(gray)[..., 2], gray) and as_rgb(gray[..., None]).shape == (4, 5, 3)
    assert as_rgb(np.dstack([picture(4, 5), gray])).shape == (4, 5, 3)


def test_drawing_marks_what_it_should() -> None:
    canvas = Image.new("RGB", (100, 80))
    draw_boxes(canvas, np.array([[10, 20, 60, 70], [50, 50, 40, 40]]), ["cat 0.9", "odd"], [3, 4])
    pixels = np.asarray(canvas)
    assert tuple(pixels[70, 30]) == color(3) and tuple(pixels[45, 10]) == color(3)
    points = Image.new("RGB", (100, 80))
    draw_points(
        points, np.array([[20.0, 20.0], [60.0, 60.0], [90.0, 10.0]]), [(0, 1), (1, 2)], np.array([True, True, False])
    )
    pixels = np.asarray(points)
    assert tuple(pixels[20, 20]) == color(0) and pixels[40, 40].any() and not pixels[10, 90].any()


def test_side_by_side() -> None:
    sheet = side_by_side([Image.new("RGB", (30, 20), (9, 9, 9)), Image.new("RGB", (40, 20))], ["float", "INT8"])
    assert sheet.width == 30 + 8 + 40 and sheet.height > 20 and sheet.getpixel((5, sheet.height - 2)) == (9, 9, 9)
