"""What the camera interface can write into an input by itself ([#camera])."""

from __future__ import annotations

from collections.abc import Iterator

from n6convert.linter.constants import CAMERA_ROW
from n6convert.linter.finding import Break, Severity, limit
from n6convert.linter.view import View, dims

__all__ = ["picture_size"]

_CHANNELS = (1, 3)
_LEAST_SIDE = 32


def picture_size(shape: tuple[int | None, ...] | None) -> tuple[int, int, int] | None:
    """Height, width and channels where an input has the shape of a picture, in either layout; else None."""
    if shape is None or len(shape) != 4 or None in shape[1:]:
        return None
    _, a, b, c = (int(d or 1) for d in shape)
    height, width, channels = (b, c, a) if a in _CHANNELS else (a, b, c)
    return (height, width, channels) if channels in _CHANNELS and min(height, width) >= _LEAST_SIDE else None


@limit(Severity.WARNING, remedy="a width that is a multiple of {CAMERA_ROW}", evidence="[#camera]")
def camera_rows(view: View) -> Iterator[Break]:
    """The camera interface writes rows in multiples of {CAMERA_ROW} bytes; other widths cost a copy of every frame by
    the CPU (inputs that no camera fills are not concerned)."""
    for value in view.inputs:
        size = picture_size(dims(value))
        if size is not None and (row := size[1] * size[2]) % CAMERA_ROW:
            below = size[1] // CAMERA_ROW * CAMERA_ROW
            remedy = f"a width of {below} or {below + CAMERA_ROW} pixels"
            yield Break(f"rows of {size[1]} x {size[2]} = {row} bytes", tensor=value.name, remedy=remedy)
