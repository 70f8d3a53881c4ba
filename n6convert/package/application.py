"""Lines for ``app_config.h`` of ST's camera applications."""

from __future__ import annotations

from collections.abc import Sequence

from n6convert.escaping import c_comment, c_string
from n6convert.package.normalisation import PixelMap
from n6convert.package.ports import Port

__all__ = ["app_config", "class_table"]

_COLORS = {"RGB": "COLOR_RGB", "BGR": "COLOR_BGR"}


def class_table(classes: Sequence[str]) -> list[str]:
    """``NB_CLASSES`` and ``CLASSES_TABLE`` as the applications declare them."""
    names = ", ".join(map(c_string, classes))
    return [
        f"#define NB_CLASSES ({len(classes)})",
        f"#define CLASSES_TABLE const char* classes_table[NB_CLASSES] = {{{names}}}",
    ]


def app_config(stem: str, model: str, image: Port, pixels: PixelMap, lines: Sequence[str]) -> str:
    """Text of ``<stem>_app_config.h``.

    Args:
        image: the input that the camera fills.
        pixels: how its channels come from pixels.
        lines: what the plugin adds: post-processing and classes.
    """
    *_, height, width, channels = image.board_shape
    notes = []
    if image.dtype != "uint8" or not pixels.is_copy:
        how = f"convert by the gain and offset of {stem}.h"
        notes.append(f"/* The camera hands over uint8, this network takes {image.dtype}: {how}. */")
    size = (("WIDTH", width), ("HEIGHT", height), ("BPP", channels))
    body = [
        f"/* {c_comment(model)}: include this from app_config.h, in place of the lines that define the same. */",
        *notes,
        *(f"#define NN_{name} ({value})" for name, value in size),
        f"#define COLOR_MODE {_COLORS.get(pixels.order, 'COLOR_RGB')}",
        f"#define WELCOME_MSG_1 {c_string(model)}",
        *lines,
    ]
    guard = f"{stem.upper()}_APP_CONFIG_H"
    return "\n".join([f"#ifndef {guard}", f"#define {guard}", "", *body, "", "#endif", ""])
