"""Ready arrays in ``.npy`` and ``.npz`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError
from n6convert.samples.base import Sample
from n6convert.samples.listed import FEW, ListedSource, Unreadable

if TYPE_CHECKING:
    from n6convert.types import ModelInfo

__all__ = ["ArrayFile", "ArrayFolder", "ImageArray", "ReadyInputs", "are_ready_inputs"]

#: sets of 16 or more photographs have a mean red minus blue above -1.2 standard errors (COCO, ImageNet, LSP)
_COLD = -2.0
#: values of images, with what rounding may add
_LEAST, _MOST = -0.01, 255.5


class ArrayFile(ListedSource[int]):
    """One file of arrays by input name with the samples along the first axis.

    An ``.npy`` file, or an ``.npz`` file with a single array, feeds the graph's only input whatever its name.
    """

    def __init__(self, file: Path, info: ModelInfo | None, **options: Any) -> None:
        self._arrays = _by_input(_load(file), info, file)
        counts = {name: len(a) for name, a in self._arrays.items()}
        if len(set(counts.values())) != 1:
            raise SourceError("the arrays hold different numbers of samples", place=file, found=counts)
        super().__init__(str(file), range(next(iter(counts.values()))), **options)

    def read(self, item: int) -> Sample:
        arrays = {n: a[item : item + 1] for n, a in self._arrays.items()}
        return Sample(f"{Path(self.name).name}[{item}]", _finite(arrays))


class ArrayFolder(ListedSource[Path]):
    """A folder of ``.npy`` or ``.npz`` files, one sample each."""

    def __init__(self, folder: Path, files: list[Path], info: ModelInfo | None, **options: Any) -> None:
        super().__init__(str(folder), files, **options)
        self._info = info

    def read(self, item: Path) -> Sample:
        try:
            arrays = _by_input(_load(item), self._info, item)
        except SourceError as error:
            raise Unreadable(str(error).replace("\n", ";")) from error
        if any(len(a) != 1 for a in arrays.values()):
            raise Unreadable("more than one sample in a file of a folder")
        return Sample(item.name, _finite(arrays))


class ReadyInputs(ArrayFile):
    """An array file for an image input whose values are no pixels: what the graph is to be fed, already normalized."""

    def warnings(self) -> list[str]:
        low, high = _span(self._arrays)
        taken = f"values of {low:.3g} to {high:.3g} are no pixels: the arrays were taken as the graph's ready inputs"
        return [*super().warnings(), taken]


def are_ready_inputs(file: Path, info: ModelInfo | None) -> bool:
    """Whether an array file has the shape of the graph's only input and values that no image has.

    Raises:
        SourceError: the file cannot be read.
    """
    if info is None or len(info.inputs) != 1:
        return False
    arrays = _load(file)
    low, high = _span(arrays)
    shaped = len(arrays) == 1 and all(a.shape[1:] == info.inputs[0].shape[1:] for a in arrays.values())
    return shaped and not (low >= _LEAST and high <= _MOST)


def _span(arrays: Mapping[str, NDArray[Any]]) -> tuple[float, float]:
    """Least and greatest of all finite values; 0 and 0 where there are none."""
    finite = [part for a in arrays.values() if (part := a[np.isfinite(a)]).size]
    return min((float(a.min()) for a in finite), default=0.0), max((float(a.max()) for a in finite), default=0.0)


class ImageArray(ListedSource[int]):
    """Images as one array ``[n, h, w, 3]`` (or channel-first), uint8, or float in 0..1 or 0..255."""

    def __init__(self, file: Path, **options: Any) -> None:
        arrays = _load(file)
        self._images = max(arrays.values(), key=lambda a: a.ndim)
        shape = self._images.shape
        if len(shape) != 4 or (shape[3] not in (1, 3, 4) and shape[1] not in (1, 3)):
            raise SourceError(
                "the array holds no images", place=file, limit="[n, h, w, 3] or [n, 3, h, w]", found=shape
            )
        super().__init__(str(file), range(shape[0]), **options)
        self._warmth: dict[int, float] = {}

    def warnings(self) -> list[str]:
        warmth = np.array(list(self._warmth.values()))
        suspicious = len(warmth) >= FEW and warmth.mean() < _COLD * warmth.std() / np.sqrt(len(warmth))
        swapped = "blue outweighs red on average, the other way round than in photographs: are the channels BGR?"
        return super().warnings() + ([swapped] if suspicious else [])

    def read(self, item: int) -> Sample:
        from n6convert.imaging import as_rgb

        image = self._images[item]
        image = image if image.shape[2] in (1, 3, 4) else image.transpose(1, 2, 0)
        if image.dtype.kind == "f":
            if not np.isfinite(image).all():
                raise Unreadable("NaN or infinity among the values")
            if image.min() < _LEAST or image.max() > _MOST:
                raise Unreadable(f"values {image.min():.3g} to {image.max():.3g}; images are 0..1 or 0..255")
            image = np.round(image * (255 if self._scale() else 1))
        image = as_rgb(image.clip(0, 255).astype(np.uint8))
        self._warmth[item] = float(image[..., 0].mean() - image[..., 2].mean())
        return Sample(f"{Path(self.name).name}[{item}]", image)

    def _scale(self) -> bool:
        """Whether the whole array, not one dark image of it, stays within 0..1."""
        return bool(self._images.max() <= 1.001)


def _finite(arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise Unreadable(f"NaN or infinity among the values of {name}")
    return arrays


def _load(file: Path) -> dict[str, NDArray[Any]]:
    try:
        content = np.load(file, allow_pickle=False)
        arrays = dict(content) if isinstance(content, Mapping) else {"": content}
    except Exception as error:  # zipfile, numpy and OS errors
        raise SourceError(
            "the array file cannot be read",
            place=file,
            limit="numeric arrays, saved by numpy.save or numpy.savez",
            found=_why(file, error),
            remedy="write it again",
        ) from error
    if not arrays or any(a.ndim == 0 or a.dtype.kind not in "biuf" for a in arrays.values()):
        raise SourceError("the array file holds no numeric arrays", place=file, limit="numbers with a samples axis")
    return arrays


def _why(file: Path, error: Exception) -> str:
    """What is wrong in our words: numpy's own advice is to load the file unsafely."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    with file.open("rb") as stream:
        head = stream.read(6)
    if not head.startswith((b"PK", b"\x93NUMPY")):
        return "neither an .npy nor an .npz file" if head else "an empty file"
    return "Python objects" if "pickle" in str(error) else f"a damaged file ({error})"


def _by_input(arrays: dict[str, NDArray[Any]], info: ModelInfo | None, file: Path) -> dict[str, NDArray[Any]]:
    """Arrays under the graph's input names with a leading samples axis, types as the graph wants them."""
    if info is None:
        return arrays
    if len(arrays) == 1 and len(info.inputs) == 1:
        arrays = {info.inputs[0].name: next(iter(arrays.values()))}
    arrays = {**{t.name: arrays[plain] for t in info.inputs if (plain := _plain(t.name)) in arrays}, **arrays}
    missing = [t.name for t in info.inputs if t.name not in arrays]
    if missing:
        raise SourceError("the array file lacks an input", place=file, limit=missing[0], found=", ".join(arrays))
    return {t.name: _fit(arrays[t.name], t.shape, t.dtype, f"{file}: {t.name}") for t in info.inputs}


def _plain(name: str) -> str:
    """What TensorFlow's exporters call ``serving_default_cam:0`` is ``cam`` to its author."""
    return name.removeprefix("serving_default_").removesuffix(":0")


def _fit(array: NDArray[Any], shape: tuple[int, ...], dtype: str, place: str) -> NDArray[Any]:
    from n6convert.graph.port_shapes import same_bytes

    if same_bytes(array.shape, shape[1:]):
        array = array.reshape((1, *shape[1:]))
    elif same_bytes(array.shape[1:], shape[1:]):
        array = array.reshape((-1, *shape[1:]))
    if array.shape[1:] != shape[1:]:
        raise SourceError(
            "an array does not fit the graph's input",
            place=place,
            limit=list(shape),
            found=list(array.shape),
            remedy="save arrays of the input's shape, with as many samples as you like along the first axis",
        )
    return array.astype(dtype, copy=False)
