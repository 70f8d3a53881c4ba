"""Encoding, decoding, person crops and real accuracy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

pytest.importorskip("n6convert_movenet")
from n6convert_movenet import MoveNet, MoveNetOptions
from n6convert_movenet.framing import PersonCrops, Square, crop_square
from n6convert_movenet.pose import decode_four_heads, decode_heatmaps

from n6convert.errors import SourceError
from n6convert.metrics.keypoints import BODY_13, COCO_17
from n6convert.plugin import BuildRequest, ModelInfo, Sample, TensorInfo, Weights
from n6convert.plugin import weights as weights_module
from n6convert.runtime.session import Session
from n6convert.samples import open_samples

REAL = "weights/movenet_lightning_heatmaps_192_float.onnx"
PERSONS = "images/coco_kpt_person_keypoints.json"


def ready(tmp_path: Path, weights: Weights, name: str = "movenet", **options: object) -> tuple[MoveNet, Session]:
    plugin = MoveNet(name, MoveNetOptions.model_validate(options))
    built = plugin.build(BuildRequest(weights, 0, tmp_path))
    side = int(built.model.graph.inputs[0].shape[2])  # type: ignore[index, arg-type]
    plugin.info = ModelInfo((TensorInfo("image", (1, 3, side, side), "float32"),), (), built.metadata)
    return plugin, Session(built.model, threads=1)


def test_accuracy_on_persons_of_coco(data_dir: Path, tmp_path: Path) -> None:
    plugin, session = ready(tmp_path, Weights("file", data_dir / REAL))
    metric = plugin.metric()
    assert metric is not None
    persons = plugin.prepare(open_samples(data_dir / PERSONS, "image"))
    for sample in persons:
        metric.add(sample, plugin.decode(session.run(plugin.encode(sample)), sample))
    score = metric.score()
    assert score.samples == len(persons) == 87
    assert 0.57 < score.value < 0.62
    assert 0.3 < score.details["OKS-AP"] < score.details["OKS-AP50"]


def test_crops_keep_keypoints_on_the_person(data_dir: Path) -> None:
    images = {s.id: s for s in open_samples(data_dir / PERSONS, "image", limit=6)}
    crops = list(PersonCrops(open_samples(data_dir / PERSONS, "image", limit=6), COCO_17))
    assert crops
    for crop in crops:
        image = images[crop.extra["image"]]
        left, top = (int(v) for v in crop.extra["origin"])
        assert isinstance(crop.data, np.ndarray) and isinstance(image.data, np.ndarray)
        for x, y, seen in crop.label["keypoints"]:
            column, row = min(int(x + left), image.data.shape[1] - 1), min(int(y + top), image.data.shape[0] - 1)
            if seen:
                assert np.array_equal(crop.data[row - top, column - left], image.data[row, column])


def test_samples_without_labels_pass(tmp_path: Path) -> None:
    plain = [Sample("a", np.zeros((4, 6, 3), np.uint8))]

    class Plain(list[Sample]):
        name, synthetic = "plain", True

    crops = PersonCrops(Plain(plain), BODY_13)  # type: ignore[arg-type]
    assert list(crops) == plain and len(crops) == 1 and crops.synthetic


def test_pixels_become_minus_one_to_one(tmp_path: Path) -> None:
    plugin, _ = ready(tmp_path, Weights("seeded"), imgsz=64)
    image = np.zeros((64, 32, 3), np.uint8)
    image[:, :, 0] = 255
    feed = plugin.encode(Sample("x", image))["image"]
    assert feed.shape == (1, 3, 64, 64) and feed.dtype == np.float32
    assert np.allclose(feed[0, :, 32, 32], [1, -1, -1]) and np.allclose(feed[0, :, 32, 2], -1)


def test_answers_come_back_in_the_samples_pixels(tmp_path: Path) -> None:
    plugin, _ = ready(tmp_path, Weights("seeded"), imgsz=64)
    heatmaps = np.zeros((1, 13, 16, 16), np.float32)
    heatmaps[0, :, 4, 10] = 0.9
    pose = plugin.decode({"heatmaps": heatmaps}, Sample("x", np.zeros((100, 200, 3), np.uint8)))
    assert np.allclose(pose[:, :2], [10.5 / 16 * 200, 4.5 / 16 * 200 - 50]) and np.allclose(pose[:, 2], 0.9)


@pytest.mark.parametrize(
    ("cells", "x", "y"),
    [
        ({(2, 5): 0.75, (7, 0): 0.7}, 5.5, 2.5),
        ({(2, 5): 0.6, (2, 6): 0.6}, 6.0, 2.5),
        ({(2, 5): 0.6, (3, 5): 0.3, (1, 5): -1.0}, 5.5, 2.5 + 1 / 3),
        ({(0, 0): 0.8, (2, 2): 0.2}, 0.9, 0.9),
        ({}, 0.5, 0.5),
    ],
)
def test_center_of_mass_around_the_highest_cell(cells: dict[tuple[int, int], float], x: float, y: float) -> None:
    heatmaps = np.zeros((1, 2, 8, 10))
    for (row, column), value in cells.items():
        heatmaps[0, 1, row, column] = value
    assert np.allclose(decode_heatmaps(heatmaps)[1], [x / 10, y / 8, max(cells.values(), default=0)])


def test_four_heads_follow_the_central_person() -> None:
    maps = {"center": np.zeros((1, 1, 16, 16)), "heatmaps": np.full((1, 17, 16, 16), 0.01)}
    maps |= {name: np.zeros((1, 34, 16, 16)) for name in ("regression", "offsets")}
    maps["center"][0, 0, 8, 7], maps["center"][0, 0, 1, 1] = 0.5, 0.9
    maps["regression"][0, 0::2, 8, 7], maps["regression"][0, 1::2, 8, 7] = -3, 2
    maps["heatmaps"][0, :, 5, 9], maps["heatmaps"][0, :, 1, 2] = 0.4, 0.9
    maps["offsets"][0, 0::2, 5, 9], maps["offsets"][0, 1::2, 5, 9] = 0.25, 0.75
    assert np.allclose(decode_four_heads(maps), [(9.75 / 16, 5.25 / 16, 0.4)] * 17)


def test_crop_reaches_over_the_edge_in_black() -> None:
    pixels = np.full((10, 10, 3), 200, np.uint8)
    square = Square.around((0, 0, 4, 10))
    crop = crop_square(pixels, square, 10)
    assert (square.left, square.top, square.side) == (-3, 0, 10)
    assert (crop[:, 0] == 0).all() and (crop[:, 5] == 200).all()


def test_pretrained_is_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(weights_module, "fetch", lambda *a, **k: asked.append(a) or tmp_path / "x")
    for name in ("movenet", "movenet-lightning", "movenet-thunder"):
        found = MoveNet(name, MoveNetOptions()).resolve_weights("pretrained", cache=tmp_path)
        assert found is not None and found.kind == "pretrained" and found.license == "Apache-2.0"
    assert [("thunder" in url, len(sha)) for url, sha, _ in asked] == [(False, 64), (False, 64), (True, 64)]
    assert MoveNet("movenet", MoveNetOptions()).resolve_weights("latest", cache=tmp_path) is None


def test_sizes_the_network_cannot_take() -> None:
    with pytest.raises(ValidationError, match="multiple of 32"):
        MoveNetOptions(imgsz=200)
    with pytest.raises(ValidationError, match="13 or 17"):
        MoveNetOptions.model_validate({"keypoints": 15})


def test_text_is_not_an_image(tmp_path: Path) -> None:
    plugin, _ = ready(tmp_path, Weights("seeded"), imgsz=64)
    with pytest.raises(SourceError, match="takes images"):
        plugin.encode(Sample("x", "a sentence"))


def test_picture_shows_every_pose(tmp_path: Path) -> None:
    plugin, _ = ready(tmp_path, Weights("seeded"), imgsz=64)
    image = np.zeros((40, 30, 3), np.uint8)
    pose = np.column_stack([np.linspace(2, 28, 13), np.linspace(2, 38, 13), np.ones(13)])
    picture = plugin.draw(Sample("x", image), pose, pose * [1, 1, 0])
    drawn = np.asarray(picture)
    assert picture.size == (60, 40) and drawn[:, :30].any() and not drawn[:, 30:].any()


@pytest.mark.parametrize("name", ["movenet", "movenet-lightning", "movenet-thunder"])
def test_contract(name: str) -> None:
    from n6convert.testing import check_plugin

    check_plugin(name, options={"imgsz": 64}, convert=False)
