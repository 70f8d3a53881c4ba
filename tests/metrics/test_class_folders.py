"""Classes from folders of images: by name, by number, by order, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n6convert.metrics.class_folders import LabeledByFolder, by_folder, folder_classes
from n6convert.samples.arrays import ArrayFolder
from n6convert.samples.images import ImageFolder


@pytest.mark.parametrize(("folders", "names", "total", "wanted"), [
    (["cat", "dog"], ["dog", "bird", "cat"], 3, {"cat": 2, "dog": 0}),
    (["0", "2"], [], 3, {"0": 0, "2": 2}),
    (["0", "3"], [], 3, {}),
    (["a", "b"], [], 2, {"a": 0, "b": 1}),
    (["a", "b"], [], 3, {}),
    (["a", "dog"], ["dog", "cat"], 2, {"a": 0, "dog": 1}),
    (["1", "2"], ["2", "1"], 5, {"1": 1, "2": 0}),
    (["²"], [], 5, {}), (["²"], [], 1, {"²": 0}), (["-1", "0"], [], 5, {}),
    ([], ["a"], 0, {}),
])  # fmt: skip
def test_numbers_of_folders(folders: list[str], names: list[str], total: int, wanted: dict[str, int]) -> None:
    """Names of classes win over numbers, numbers over the order; anything else says nothing."""
    assert folder_classes(folders, names, total) == wanted


def pictures(folder: Path, *names: str) -> ImageFolder:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(folder / name)
    return ImageFolder(str(folder), folder, sorted(folder.rglob("*.png")))


def test_images_get_the_class_of_their_first_folder(tmp_path: Path) -> None:
    source = pictures(tmp_path, "cat/a.png", "dog/in/b.png", "c.png")
    found = by_folder(source, ["dog", "cat"], 2)
    assert isinstance(found, LabeledByFolder) and len(found) == 3 and found.name == str(tmp_path)
    assert {s.id: s.label for s in found} == {"cat/a.png": 1, "dog/in/b.png": 0, "c.png": None}
    assert found.warnings() == source.warnings() != [] and not found.synthetic


def test_what_has_no_folders_or_is_no_folder_of_images_stays(tmp_path: Path) -> None:
    plain = pictures(tmp_path / "plain", "a.png")
    assert by_folder(plain, ["a"], 1) is plain
    (tmp_path / "arrays" / "a").mkdir(parents=True)
    np.save(tmp_path / "arrays" / "a" / "x.npy", np.zeros(3))
    arrays = ArrayFolder(tmp_path / "arrays", [tmp_path / "arrays" / "a" / "x.npy"], None)
    assert by_folder(arrays, ["a"], 1) is arrays
