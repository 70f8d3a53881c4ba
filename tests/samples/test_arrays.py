"""Array files: which shapes and values are taken for what, and what is said about those that are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from n6convert.errors import SourceError
from n6convert.plugin import ModelInfo, TensorInfo
from n6convert.samples.arrays import ArrayFile, ArrayFolder, ImageArray, are_ready_inputs
from n6convert.samples.listed import Unreadable

ONE = ModelInfo((TensorInfo("x", (1, 3, 4), "float32"),), (), {})
TWO = ModelInfo((TensorInfo("x", (1, 4), "float32"), TensorInfo("ids", (1, 2), "int64")), (), {})


def _save(folder: Path, *arrays: np.ndarray, **named: np.ndarray) -> Path:
    path = folder / ("a.npz" if named else "a.npy")
    if named:
        np.savez(path, **named)
    else:
        np.save(path, arrays[0])
    return path


@pytest.mark.parametrize(
    ("shape", "count"), [((5, 3, 4), 5), ((3, 4), 1), ((12,), 1), ((5, 12), 5), ((1, 3, 4), 1), ((5, 1, 3, 4), 5)]
)
def test_arrays_are_cut_into_samples(shape: tuple[int, ...], count: int, tmp_path: Path) -> None:
    """Whatever leading or missing axes, the order of the values stays."""
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    found = [sample.data["x"] for sample in ArrayFile(_save(tmp_path, values), ONE)]  # type: ignore[index,call-overload]
    assert len(found) == count and {a.shape for a in found} == {(1, 3, 4)}
    assert np.concatenate(found).ravel().tolist() == values.ravel().tolist()


@pytest.mark.parametrize("shape", [(5, 4, 4), (5, 3), (2, 3, 5), (13,)])
def test_other_shapes_are_refused_with_both(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = _save(tmp_path, np.zeros(shape))
    with pytest.raises(SourceError, match="does not fit") as caught:
        ArrayFile(path, ONE)
    error = caught.value
    assert error.limit == [1, 3, 4] and error.place == f"{path}: x" and "first axis" in str(error.remedy)


def test_two_inputs_are_fed_by_name_in_their_types(tmp_path: Path) -> None:
    path = _save(tmp_path, ids=np.array([[1, 2], [3, 4]], np.int32), x=np.ones((2, 4)), more=np.ones(9))
    samples = list(ArrayFile(path, TWO))
    assert [s.id for s in samples] == ["a.npz[0]", "a.npz[1]"]
    assert samples[1].data["ids"].tolist() == [[3, 4]]  # type: ignore[index,call-overload]
    assert {n: str(a.dtype) for n, a in samples[0].data.items()} == {"x": "float32", "ids": "int64"}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ({"x": np.ones((2, 4))}, "lacks an input"),
        ({"x": np.ones((2, 4)), "ids": np.ones((3, 2))}, "different numbers of samples"),
        ({"x": np.array(1.0)}, "no numeric arrays"),
        ({"x": np.array(["a"])}, "no numeric arrays"),
        ({"x": np.ones((2, 4), complex)}, "no numeric arrays"),
    ],
)
def test_files_that_do_not_feed_the_graph(named: dict[str, np.ndarray], problem: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=problem) as caught:
        ArrayFile(_save(tmp_path, **named), TWO)
    assert caught.value.place == tmp_path / "a.npz"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_sample_that_is_not_finite_is_skipped(value: float, tmp_path: Path) -> None:
    values = np.ones((20, 3, 4), np.float32)
    values[7, 1, 2] = value
    source = ArrayFile(_save(tmp_path, values), ONE)
    assert len(list(source)) == 19 and "NaN or infinity" in next(iter(source.unreadable.values()))


def test_a_file_of_a_folder_holds_one_sample(tmp_path: Path) -> None:
    for i, shape in enumerate([(1, 3, 4), (3, 4), (2, 3, 4), (9,)]):
        np.save(tmp_path / f"{i}.npy", np.ones(shape))
    files = sorted(tmp_path.glob("*.npy"))
    source = ArrayFolder(tmp_path, files, ONE, max_unreadable=1.0)
    assert [s.id for s in source] == ["0.npy", "1.npy"]
    assert [text.split(";")[0] for text in source.unreadable.values()] == [
        "more than one sample in a file of a folder", "an array does not fit the graph's input"
    ]  # fmt: skip


# images -------------------------------------------------------------------------------------------------------------


def _picture(folder: Path, values: np.ndarray) -> np.ndarray:
    return ImageArray(_save(folder, values)).read(0).data  # type: ignore[return-value]


PIXELS = np.random.default_rng(0).integers(0, 256, (2, 7, 6, 3), np.uint8)


def test_the_scale_is_that_of_the_whole_array(tmp_path: Path) -> None:
    """A black picture among floats of 0..255 is not brightened."""
    values = PIXELS.astype(np.float32)
    values[0] = 1.0
    assert _picture(tmp_path, values).max() == 1
    assert np.array_equal(_picture(tmp_path, PIXELS / np.float32(255)), PIXELS[0])


@pytest.mark.parametrize(
    ("low", "high", "taken"),
    [(0, 255, True), (-0.009, 255.4, True), (-0.02, 255, False), (0, 255.6, False), (-1, 1, False)],
)
def test_values_of_pictures(low: float, high: float, taken: bool, tmp_path: Path) -> None:
    values = np.full((1, 7, 6, 3), (low + high) / 2, np.float32)
    values[0, 0, 0], values[0, 0, 1] = low, high
    if taken:
        assert _picture(tmp_path, values).dtype == np.uint8
        return
    with pytest.raises(Unreadable, match="images are 0..1 or 0..255"):
        _picture(tmp_path, values)


@pytest.mark.parametrize("shape", [(7, 6, 3), (2, 7, 6, 5), (2, 5, 6, 7), (2, 3, 7, 6, 1)])
def test_shapes_that_are_no_pictures(shape: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no images") as caught:
        ImageArray(_save(tmp_path, np.zeros(shape, np.uint8)))
    assert caught.value.found == shape


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_become_three(channels: int, tmp_path: Path) -> None:
    values = PIXELS[..., :1].repeat(channels, 3)
    if channels == 4:
        values[..., 3] = 255
    found = _picture(tmp_path, values)
    assert found.shape == (7, 6, 3) and np.array_equal(found, PIXELS[0, ..., :1].repeat(3, 2))


# ready inputs --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "ready"), [(-1, 1, True), (0, 255, False), (0, 1, False), (-0.005, 255, False), (0, 256, True)]
)
def test_values_beyond_pixels_are_ready(low: float, high: float, ready: bool, tmp_path: Path) -> None:
    values = np.linspace(low, high, 24, dtype=np.float32).reshape(2, 3, 4)
    assert are_ready_inputs(_save(tmp_path, values), ONE) is ready
    assert not are_ready_inputs(_save(tmp_path, values.reshape(2, 4, 3)), ONE), "another shape is none of the graph's"
    assert not are_ready_inputs(_save(tmp_path, values), None)
    assert not are_ready_inputs(_save(tmp_path, values), TWO)


def test_what_is_not_finite_does_not_decide(tmp_path: Path) -> None:
    values = np.full((1, 3, 4), 100.0)
    values[0, 0, 0] = np.inf
    assert not are_ready_inputs(_save(tmp_path, values), ONE)
