"""Sources of every kind, and what they say about bad ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from n6convert.errors import SourceError
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.samples import CocoLabel, Sample, fingerprint_samples, open_samples, split_by_hash, without
from n6convert.samples.listed import FEW, spread


def picture(seed: int = 0, size: tuple[int, int] = (20, 30)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)


def save(path: Path, seed: int = 0, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, **options)
    return path


def folder_of(root: Path, count: int) -> Path:
    for i in range(count):
        save(root / f"{i:03}.png", i)
    return root


def refusal(source: Any, kind: str = "image", **options: Any) -> str:
    with pytest.raises(SourceError) as caught:
        list(open_samples(source, kind, **options))
    return str(caught.value)


# -- images -----------------------------------------------------------------------------------------------------------


def test_folder_in_fixed_order_with_subfolders(tmp_path: Path) -> None:
    for name in ("b/2.png", "a.png", "b/1.png", ".hidden/x.png", "notes.txt"):
        save(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("x")
    source = open_samples(tmp_path, "image")
    assert [s.id for s in source] == ["a.png", "b/1.png", "b/2.png"] == [s.id for s in source]
    assert all(s.data.shape == (20, 30, 3) and s.data.dtype == np.uint8 for s in source)


def test_limit_spreads_over_the_whole_source(tmp_path: Path) -> None:
    folder_of(tmp_path, 20)
    assert [s.id for s in open_samples(tmp_path, "image", limit=4)] == ["000.png", "005.png", "010.png", "015.png"]
    assert spread([1, 2, 3], 10) == [1, 2, 3]


def test_one_sample_in_memory_at_a_time(tmp_path: Path) -> None:
    import gc
    import weakref

    folder_of(tmp_path, 5)
    last = None
    for sample in open_samples(tmp_path, "image"):
        gc.collect()
        assert last is None or last() is None or last() is sample.data
        last = weakref.ref(sample.data)
        del sample


def test_orientation_gray_alpha_and_16_bit(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    save(tmp_path / "0.png", exif=exif)
    Image.fromarray(picture()[..., 0]).save(tmp_path / "1.png")
    Image.fromarray(picture(), "RGB").convert("RGBA").save(tmp_path / "2.png")
    Image.fromarray(picture()[..., 0].astype(np.uint16) * 257).save(tmp_path / "3.png")
    turned, gray, alpha, wide = (s.data for s in open_samples(tmp_path, "image"))
    assert np.array_equal(turned, np.rot90(picture(), -1))
    assert np.array_equal(alpha, picture())
    assert np.array_equal(gray, wide) and np.array_equal(gray[..., 0], picture()[..., 0])


def test_unreadable_images_are_skipped_counted_and_refused(tmp_path: Path) -> None:
    folder_of(tmp_path, 19)
    (tmp_path / "zz.jpg").write_bytes(b"\xff\xd8 no image")
    source = open_samples(tmp_path, "image", max_unreadable=0.1)
    assert len(list(source)) == len(source) == 19 == len(list(source))
    assert any("1 of 20 samples could not be read" in w and "zz.jpg" in w for w in source.warnings())
    message = refusal(tmp_path, max_unreadable=0.01)
    assert "too many samples" in message and "zz.jpg" in message


def test_truncated_image_counts_as_unreadable(tmp_path: Path) -> None:
    folder_of(tmp_path, 9)
    data = save(tmp_path / "x.jpg").read_bytes()
    (tmp_path / "x.jpg").write_bytes(data[: len(data) // 2])
    source = open_samples(tmp_path, "image")
    assert len(list(source)) == 9 and list(source.unreadable) == [str(tmp_path / "x.jpg")]


def test_warnings_about_what_is_measurable(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "same" / f"{i}.png")
        Image.fromarray(picture(i) // 128).save(save(tmp_path / "dark" / f"{i}.png"))
        Image.fromarray(picture(i)[..., 0]).save(save(tmp_path / "gray" / f"{i}.png"))
        Image.new("RGB", (9, 9), (i, 200, 0)).save(save(tmp_path / "flat" / f"{i}.png"))

    def warnings(name: str) -> str:
        source = open_samples(tmp_path / name, "image")
        list(source)
        return "\n".join(source.warnings())

    assert "only 1 of 4 samples differ" in warnings("same") and f"at least {FEW}" in warnings("same")
    assert "0..1 image" in warnings("dark") and "gray" in warnings("gray") and "single color" in warnings("flat")
    good = open_samples(folder_of(tmp_path / "good", FEW), "image")
    assert len(list(good)) == FEW and not good.warnings()


def test_label_table(tmp_path: Path) -> None:
    folder_of(tmp_path / "pictures", 3)
    (tmp_path / "pictures_labels.csv").write_text("file,class_index,name\n002.png,7,x\n000.png,1,y\n")
    assert [(s.id, s.label) for s in open_samples(tmp_path / "pictures_labels.csv", "image")] == [
        ("002.png", 7),
        ("000.png", 1),
    ]
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    assert "columns a, b" in refusal(tmp_path / "bad.csv")
    (tmp_path / "lost.csv").write_text("file,label\nnowhere.png,2\n")
    assert "nowhere.png" in refusal(tmp_path / "lost.csv")


def coco(root: Path, images: str = "pictures") -> Path:
    folder_of(root / images, 2)
    content = {
        "images": [{"id": 5, "file_name": "001.png"}, {"id": 9, "file_name": "000.png"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
        "categories": [{"id": 3, "name": "cat"}],
    }
    (root / "labels.json").write_text(json.dumps(content))
    return root / "labels.json"


def test_coco_labels(tmp_path: Path) -> None:
    first, second = open_samples(coco(tmp_path), "image")
    assert (first.id, second.id) == ("000.png", "001.png")
    assert isinstance(second.label, CocoLabel) and second.label.image_id == 5
    assert second.label.annotations[0]["bbox"] == [1, 2, 3, 4] and second.label.categories == {3: "cat"}
    assert first.label.annotations == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"images": [{"id": 1}], "annotations": [], "categories": []}', "file_name"),
        ('{"images": [{"id": 1, "file_name": "a"}], "annotations": [{}], "categories": []}', "image_id"),
        ('{"images": [3], "annotations": [], "categories": []}', "TypeError"),
        ("{", "not valid json"),
        ("[]", "not in COCO form"),
        ('{"images": [], "annotations": []}', "categories"),
    ],
)
def test_bad_coco_files(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "labels.json").write_text(content)
    assert words in refusal(tmp_path / "labels.json")


def test_empty_missing_and_wrong(tmp_path: Path) -> None:
    assert "an empty folder" in refusal(tmp_path)
    assert "do not exist" in refusal(tmp_path / "nothing")
    (tmp_path / "model.onnx").write_bytes(b"x")
    assert "model.onnx" in refusal(tmp_path) and ".onnx file" in refusal(tmp_path / "model.onnx")
    (tmp_path / "a.txt").write_text("text")
    assert "a folder of images" in refusal(tmp_path / "a.txt")
    assert "sentence a line" in refusal(folder_of(tmp_path / "p", 1), kind="text")


# -- arrays -----------------------------------------------------------------------------------------------------------

INFO = ModelInfo((TensorInfo("x", (1, 4), "float32"), TensorInfo("y", (1, 2, 2), "int64")), (), {})


def test_npz_by_input_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(12.0).reshape(3, 4), y=np.ones((3, 2, 2), np.int32), extra=np.ones(3))
    samples = list(open_samples(tmp_path / "a.npz", "arrays", INFO))
    assert len(samples) == 3 and samples[2].data["x"].tolist() == [[8, 9, 10, 11]]
    assert samples[0].data["x"].dtype == np.float32 and samples[0].data["y"].dtype == np.int64


def test_npy_for_the_only_input_and_folders(tmp_path: Path) -> None:
    only = ModelInfo((INFO.inputs[0],), (), {})
    np.save(tmp_path / "a.npy", np.ones(4))
    np.save(tmp_path / "b.npy", np.zeros((1, 4)))
    assert [s.data["x"].shape for s in open_samples(tmp_path, "arrays", only)] == [(1, 4), (1, 4)]
    assert len(list(open_samples(tmp_path / "a.npy", "arrays", only))) == 1


def test_bad_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones((3, 5)), y=np.ones((3, 2, 2)))
    np.savez(tmp_path / "b.npz", x=np.ones((3, 4)))
    np.savez(tmp_path / "c.npz", x=np.ones((3, 4)), y=np.ones((2, 2, 2)))
    np.save(tmp_path / "d.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "e.npz").write_bytes(b"PK\x03\x04")
    for name, words in (("a", "[1, 4]"), ("b", "lacks an input"), ("c", "different numbers")):
        assert words in refusal(tmp_path / f"{name}.npz", "arrays", info=INFO)
    (tmp_path / "f.npz").write_bytes(b"no array at all")
    (tmp_path / "g.npy").write_bytes(b"")
    for name, words in (
        ("d.npy", "Python objects"), ("e.npz", "a damaged file"), ("f.npz", "neither an .npy"), ("g.npy", "an empty")
    ):  # fmt: skip
        text = refusal(tmp_path / name, "arrays")
        assert "cannot be read" in text and words in text
        assert "pickle" not in text, "numpy's advice is unsafe"


@pytest.mark.parametrize("form", ["bytes", "unit floats", "wide floats", "channels first"])
def test_images_as_arrays(tmp_path: Path, form: str) -> None:
    images = np.stack([picture(0), picture(1)])
    stored = {
        "bytes": images,
        "unit floats": images / 255,
        "wide floats": images.astype(np.float32),
        "channels first": images.transpose(0, 3, 1, 2),
    }[form]
    np.save(tmp_path / "a.npy", stored)
    assert all(
        np.array_equal(s.data, i) for s, i in zip(open_samples(tmp_path / "a.npy", "image"), images, strict=True)
    )


def test_swapped_channels_are_suspected_in_arrays(data_dir: Path, tmp_path: Path) -> None:
    photos = open_samples(data_dir / "images" / "imagenet500", "image", limit=48)
    images = np.stack([np.asarray(Image.fromarray(s.data).resize((32, 32))) for s in photos])
    for name, stored in (("rgb", images), ("bgr", images[..., ::-1])):
        np.save(tmp_path / f"{name}.npy", stored)
        source = open_samples(tmp_path / f"{name}.npy", "image")
        assert len(list(source)) == 48
        assert any("BGR" in w for w in source.warnings()) == (name == "bgr")


def test_normalized_images_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(2, 8, 8, 3)))
    assert "0..1 or 0..255" in refusal(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.full((2, 8, 8, 3), np.nan))
    assert "NaN or infinity among the values" in refusal(tmp_path / "b.npy")


# -- text -------------------------------------------------------------------------------------------------------------


def test_text_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n two words \n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text('label\tcontent\n0\tan "odd quote\n1\tfine\n', encoding="utf-8-sig")
    assert [(s.data, s.label) for s in open_samples(tmp_path / "a.txt", "text")] == [("one", None), ("two words", None)]
    assert [(s.data, s.label) for s in open_samples(tmp_path / "b.tsv", "text")] == [('an "odd quote', 0), ("fine", 1)]
    (tmp_path / "c.tsv").write_text("a\tb\n1\t2\n")
    assert "no text column" in refusal(tmp_path / "c.tsv", "text")
    (tmp_path / "d.txt").write_bytes(b"\xff\xfe\x00")
    assert "not UTF-8" in refusal(tmp_path / "d.txt", "text")
    (tmp_path / "e.txt").write_text("\n\n")
    assert "no sentences" in refusal(tmp_path / "e.txt", "text")


# -- apart and recognized ---------------------------------------------------------------------------------------------


def test_split_by_hash_is_disjoint_and_ignores_names(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", 40)
    rest, held = split_by_hash(open_samples(tmp_path / "a", "image"), 0.25)
    sides = [{s.sha256 for s in side} for side in (rest, held)]
    assert not sides[0] & sides[1] and len(rest) + len(held) == 40 and 3 <= len(held) <= 18
    for i, old in enumerate(sorted((tmp_path / "a").iterdir())):
        old.rename(old.with_name(f"{100 - i}.png"))
    again = split_by_hash(open_samples(tmp_path / "a", "image"), 0.25)[1]
    assert {s.sha256 for s in again} == sides[1]


def test_without_what_was_seen(tmp_path: Path) -> None:
    source = open_samples(folder_of(tmp_path, 5), "image")
    seen = {s.sha256 for s in source if s.id < "002"}
    assert [s.id for s in without(source, seen)] == ["002.png", "003.png", "004.png"]


def test_fingerprint_follows_content(tmp_path: Path) -> None:
    folder_of(tmp_path / "a", 4)
    first = fingerprint_samples(tmp_path / "a", limit=2)
    assert fingerprint_samples(tmp_path / "a", limit=2) == first
    save(tmp_path / "a" / "000.png", 99)
    assert fingerprint_samples(tmp_path / "a", limit=2) != first
    labels = coco(tmp_path / "c")
    before = fingerprint_samples(labels)
    save(tmp_path / "c" / "pictures" / "001.png", 77)
    assert fingerprint_samples(labels) != before


def test_hash_is_of_the_content_alone() -> None:
    assert Sample("a", picture()).sha256 == Sample("b", picture().copy(), label=3).sha256
    assert Sample("a", picture()).sha256 != Sample("a", picture().transpose(1, 0, 2)).sha256


def test_real_files(data_dir: Path) -> None:
    boxes = open_samples(data_dir / "images" / "coco_det_instances.json", "image")
    assert len(boxes) == 64 and sum(len(boxes._annotations[i]) for i in boxes._ids.values()) == 461
    classes = open_samples(data_dir / "images" / "imagenet500_labels.csv", "image", limit=3)
    assert [s.label for s in classes] == [0, 332, 666]
    dev = open_samples(data_dir / "text" / "glue_sst2_dev.tsv", "text")
    assert len(dev) == 872 and {s.label for s in dev} == {0, 1}


IMAGE_INPUT = ModelInfo((TensorInfo("image", (1, 3, 8, 6), "float32"),), (), {})


@pytest.mark.parametrize("offset", [-2.0, 300.0])
def test_normalized_arrays_are_ready_inputs_where_the_plugin_takes_them(tmp_path: Path, offset: float) -> None:
    values = np.random.default_rng(0).uniform(0, 4, (16, 3, 8, 6)).astype(np.float32) + np.float32(offset)
    np.savez(tmp_path / "a.npz", values)
    source = open_samples(tmp_path / "a.npz", "image", IMAGE_INPUT, ready=True)
    for sample, given in zip(source, values, strict=True):
        np.testing.assert_array_equal(sample.data["image"], given[None])
    assert "ready inputs" in " ".join(source.warnings())
    assert "images are 0..1 or 0..255" in refusal(tmp_path / "a.npz", info=IMAGE_INPUT)
    np.savez(tmp_path / "turned.npz", values.transpose(0, 2, 3, 1))
    assert "images are 0..1 or 0..255" in refusal(tmp_path / "turned.npz", info=IMAGE_INPUT, ready=True)


def test_arrays_of_pixels_stay_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 6), np.uint8)
    for name, array in (("bytes", pixels), ("unit", pixels / np.float32(255))):
        np.save(tmp_path / f"{name}.npy", array)
        found = [s.data for s in open_samples(tmp_path / f"{name}.npy", "image", IMAGE_INPUT, ready=True)]
        np.testing.assert_array_equal(np.stack(found), pixels.transpose(0, 2, 3, 1))


def test_a_folder_of_arrays_feeds_an_image_input(tmp_path: Path) -> None:
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", np.full((1, 3, 8, 6), i, np.float32))
    found = [s.data["image"][0, 0, 0, 0] for s in open_samples(tmp_path, "image", IMAGE_INPUT, ready=True)]
    assert found == [0, 1, 2]
    assert "holds no images" in refusal(tmp_path, info=IMAGE_INPUT)


def test_names_that_tensorflow_decorates_are_found_by_their_plain_ones(tmp_path: Path) -> None:
    names = ("serving_default_cam:0", "serving_default_imu:0")
    info = ModelInfo(tuple(TensorInfo(name, (1, 4), "float32") for name in names), (), {})
    np.savez(tmp_path / "a.npz", imu=np.ones((3, 4)), cam=np.zeros((3, 4)))
    np.savez(tmp_path / "b.npz", **{names[0]: np.zeros((3, 4)), "imu": np.ones((3, 4))})
    for name in "ab":
        found = next(iter(open_samples(tmp_path / f"{name}.npz", "arrays", info))).data
        assert found[names[0]].max() == 0 and found[names[1]].min() == 1
