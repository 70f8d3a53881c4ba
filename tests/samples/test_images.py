"""Image files, where they are looked for, and tables that label them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from n6convert.errors import SourceError
from n6convert.samples.images import ImageFolder, LabelTable, find_beside, list_images, read_image
from n6convert.samples.listed import Unreadable

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)


def _save(path: Path, image: Image.Image | None = None, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or Image.fromarray(PIXELS)).save(path, **options)  # type: ignore[arg-type]
    return path


#: what a camera held in each way stores, as the EXIF standard numbers them, undone by numpy
_UPRIGHT = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2), 6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}  # fmt: skip


@pytest.mark.parametrize("orientation", sorted(_UPRIGHT))
def test_pictures_stand_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(read_image(_save(tmp_path / "a.png", exif=exif)), _UPRIGHT[orientation](PIXELS))


@pytest.mark.parametrize("suffix", ["png", "bmp", "ppm", "tif", "webp"])
def test_formats_without_loss(suffix: str, tmp_path: Path) -> None:
    options = {"lossless": True} if suffix == "webp" else {}
    assert np.array_equal(read_image(_save(tmp_path / f"a.{suffix}", **options)), PIXELS)


@pytest.mark.parametrize(("peak", "wanted"), [(65_535, 255), (256, 1), (255, 255), (7, 7)])
def test_wide_gray_is_scaled_where_it_is_wide(peak: int, wanted: int, tmp_path: Path) -> None:
    gray = np.zeros((3, 3), np.uint16)
    gray[1, 1] = peak
    found = read_image(_save(tmp_path / "a.png", Image.fromarray(gray)))
    assert found.shape == (3, 3, 3) and found.max() == wanted and found[0, 0].tolist() == [0, 0, 0]


def test_a_palette_is_its_colors(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    assert read_image(_save(tmp_path / "a.png", image))[1].tolist() == [[70, 80, 90], [40, 50, 60]]


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n" + bytes(30), b"text"])
def test_damage_is_unreadable_and_nothing_else(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match="Error"):
        read_image(path)


def test_order_is_that_of_relative_paths(tmp_path: Path) -> None:
    names = ["b.PNG", "a/z.jpg", "a/b/c.png", "Z.png", "a.png", ".x.png", "a/.hidden/d.png", "notes.md", "a.b/d.png"]
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    found = [p.relative_to(tmp_path).as_posix() for p in list_images(tmp_path)]
    assert found == sorted(n for n in names if not n.startswith(".") and "/." not in n and not n.endswith("md"))


def test_samples_are_called_by_their_path_below_the_root(tmp_path: Path) -> None:
    path = _save(tmp_path / "a" / "b.png")
    (sample,) = ImageFolder("f", tmp_path, [path])
    assert sample.id == "a/b.png" and np.array_equal(sample.data, PIXELS)


@pytest.mark.parametrize("folder", [".", "labels", "pictures", "../other", "../images/val"])
def test_places_where_labeled_images_are_looked_for(folder: str, tmp_path: Path) -> None:
    labels = tmp_path / "set" / "labels.csv"
    labels.parent.mkdir()
    labels.write_text("")
    wanted = _save(labels.parent / folder / "1.png").parent.resolve()
    assert find_beside(labels, ["0.png", "1.png"]).resolve() == wanted, "the first name may be missing"


def test_a_folder_named_like_the_labels_comes_first(tmp_path: Path) -> None:
    labels = tmp_path / "val_labels.csv"
    labels.write_text("")
    for name in ("a", "val"):
        _save(tmp_path / name / "1.png")
    assert find_beside(labels, ["1.png"]).name == "val"


@pytest.mark.parametrize(("names", "found"), [(["1.png", "2.png"], "no 1.png"), ([], "no image names in it")])
def test_images_that_are_nowhere(names: list[str], found: str, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    labels.write_text("")
    with pytest.raises(SourceError, match="were not found") as caught:
        find_beside(labels, names)
    assert (caught.value.place, caught.value.found) == (labels, found)


# tables --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["file", "file_name", "FileName", "image", " Path "])
@pytest.mark.parametrize("label", ["class_index", "Label", "class", "target", "index"])
def test_columns_by_any_of_their_names(file: str, label: str, tmp_path: Path) -> None:
    for i in range(2):
        _save(tmp_path / f"{i}.png")
    table = tmp_path / "t.csv"
    table.write_text(f"x,{label},{file}\n-,7,1.png\n-, 3 ,0.png\n", encoding="utf-8-sig")
    source = LabelTable(table)
    assert [(s.id, s.label) for s in source] == [("1.png", 7), ("0.png", 3)]
    assert source.paths() == [tmp_path / "1.png", tmp_path / "0.png"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "columns none"), ("file,label\n", "columns none"), ("file,name\na,b\n", "columns file, name"),
        ("file,label\na.png,cat\n", "'cat'"), ("file,label\na.png\n", "NoneType"),
    ],
)  # fmt: skip
def test_tables_that_label_nothing(text: str, found: str, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text(text)
    with pytest.raises(SourceError, match="label table cannot be read") as caught:
        LabelTable(table)
    assert found in str(caught.value.found) and "class_index" in str(caught.value.limit)


def test_a_table_of_another_encoding(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_bytes(b"file,label\n\xff\xfe.png,1\n")
    with pytest.raises(SourceError, match="label table cannot be read"):
        LabelTable(table)
