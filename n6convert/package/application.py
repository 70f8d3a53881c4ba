"""Lines for ``app_config.h`` of ST's camera applications."""

from __future__ import annotations

from collections.abc import Sequence

from n6convert.escaping import c_comment, c_string
from n6convert.package.camera import Camera

__all__ = ["app_config", "class_table"]

_COLORS = {"RGB": "COLOR_RGB", "BGR": "COLOR_BGR"}


def class_table(classes: Sequence[str]) -> list[str]:
    """``NB_CLASSES`` and ``CLASSES_TABLE`` as the applications declare them."""
    names = ", ".join(map(c_string, classes))
    return [
        f"#define NB_CLASSES ({len(classes)})",
        f"#define CLASSES_TABLE const char* classes_table[NB_CLASSES] = {{{names}}}",
    ]


def app_config(stem: str, model: str, camera: Camera, lines: Sequence[str]) -> str:
    """Text of ``<stem>_app_config.h``.

    Args:
        stem: prefix of the package's symbols.
        model: its file, which the display shows.
        camera: the input that it fills.
        lines: what the plugin adds: post-processing and classes.
    """
    height, width, channels = camera.size
    size = (("WIDTH", width), ("HEIGHT", height), ("BPP", channels))
    body = [
        f"/* {c_comment(model)}: include this from app_config.h, in place of the lines that define the same.",
        *(f"   {c_comment(note)}" for note in camera.notes()),
        "*/",
        *(f"#define NN_{name} ({value})" for name, value in size),
        f"#define COLOR_MODE {_COLORS.get(camera.pixels.order, 'COLOR_RGB')}",
        *([f"#define ASPECT_RATIO_MODE {camera.aspect_ratio}"] if camera.aspect_ratio else []),
        f"#define WELCOME_MSG_1 {c_string(model)}",
        *lines,
    ]
    guard = f"{stem.upper()}_APP_CONFIG_H"
    return "\n".join([f"#ifndef {guard}", f"#define {guard}", "", *body, "", "#endif", ""])
