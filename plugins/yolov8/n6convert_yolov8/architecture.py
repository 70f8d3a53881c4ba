"""The shape of a YOLOv8 network, read from its tensors or looked up by size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from n6convert.plugin import SourceError

__all__ = ["C2F_LAYERS", "SIZES", "STRIDES", "Architecture"]

STRIDES = (8, 16, 32)
#: layers of kind C2f by number, with the repeats of the unscaled network; those below 10 have shortcuts
C2F_LAYERS = {2: 3, 4: 6, 6: 6, 8: 3, 12: 3, 15: 3, 18: 3, 21: 3}
#: depth multiple, width multiple and channel limit of the published sizes
SIZES = {"n": (0.33, 0.25, 1024), "s": (0.33, 0.5, 1024), "m": (0.67, 0.75, 768)}


@dataclass(frozen=True)
class Architecture:
    """What distinguishes one YOLOv8 from another; channel counts follow from the weights themselves.

    Attributes:
        repeats: bottlenecks in each C2f layer, by layer number.
        classes: number of classes.
        reg_max: bins of the box distribution, for each of the four sides.
        keypoints: ``(count, values per keypoint)``, None for detection.
    """

    repeats: Mapping[int, int]
    classes: int
    reg_max: int
    keypoints: tuple[int, int] | None = None

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[Any]], keypoint_shape: Any = None) -> Architecture:
        """Read from tensors named ``<layer>.<...>``, as in Ultralytics checkpoints without their ``model.`` prefix.

        Args:
            tensors: arrays by name.
            keypoint_shape: ``(count, values)`` where the checkpoint says so; otherwise three values are assumed.

        Raises:
            SourceError: not a YOLOv8 detection or pose network.
        """
        _refuse_others(tensors)
        names = set(tensors)
        repeats = {layer: _count(names, f"{layer}.m.") for layer in C2F_LAYERS}
        reg_max = tensors["22.cv2.0.2.weight"].shape[0] // 4
        return cls(repeats, tensors["22.cv3.0.2.weight"].shape[0], reg_max, _keypoints(tensors, keypoint_shape))

    @classmethod
    def of_size(cls, size: str, classes: int = 80, keypoints: tuple[int, int] | None = None) -> Architecture:
        """The published network of size ``n``, ``s`` or ``m``."""
        depth = SIZES[size][0]
        return cls({k: max(round(n * depth), 1) for k, n in C2F_LAYERS.items()}, classes, 16, keypoints)


def _count(names: set[str], prefix: str) -> int:
    return len({n[len(prefix) :].split(".")[0] for n in names if n.startswith(prefix)})


def _keypoints(tensors: Mapping[str, NDArray[Any]], shape: Any) -> tuple[int, int] | None:
    weight = tensors.get("22.cv4.0.2.weight")
    if weight is None:
        return None
    channels = weight.shape[0]
    count, values = (int(shape[0]), int(shape[1])) if shape is not None else (channels // 3, 3)
    if count * values != channels or values not in (2, 3):
        raise SourceError("the keypoint head does not fit its keypoint shape", found=f"{channels} channels for {shape}")
    return count, values


def _refuse_others(tensors: Mapping[str, NDArray[Any]]) -> None:
    layers = sorted({int(n.split(".")[0]) for n in tensors if n.split(".")[0].isdigit()})
    needed = ["0.conv.weight", "9.cv2.conv.weight", *(f"22.{b}.{i}.2.weight" for b in ("cv2", "cv3") for i in range(3))]
    needed += [f"{layer}.m.0.cv1.conv.weight" for layer in C2F_LAYERS]
    missing = [n for n in needed if n not in tensors]
    if any(n.startswith("22.proto.") for n in tensors):
        missing = ["a detection or pose head (this is a segmentation model)"]
    if missing:
        raise SourceError(
            "the weights are not those of a YOLOv8 detection or pose network",
            limit="layers 0 to 22 with C2f blocks and a Detect or Pose head on strides 8, 16, 32",
            found=f"layers {layers[0]} to {layers[-1]}, without {missing[0]}" if layers else "no numbered layers",
        )
