"""C for the board: keypoints from int8 heat maps or from the four heads, and ST's post-processing configuration."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from n6convert.plugin import Firmware
from n6convert.plugin.firmware import CUSTOM, c_identifier, postprocess_type

if TYPE_CHECKING:
    from n6convert.plugin.firmware import Port

__all__ = ["pose_firmware"]


def pose_firmware(stem: str, outputs: Sequence[Port]) -> Firmware:
    """``<stem>_pose.c`` and ``.h``; for plain heat maps also what ST's MoveNet post-processing is configured with."""
    index = {port.name: i for i, port in enumerate(outputs)}
    _, keypoints, rows, columns = outputs[index["heatmaps"]].graph_shape
    prefix = stem.upper()
    defines = [
        *(f"#define {prefix}_{c_identifier(name).upper()} ({i}u)" for name, i in index.items()),
        f"#define {prefix}_KEYPOINTS ({keypoints})",
        f"#define {prefix}_MAP_ROWS ({rows})",
        f"#define {prefix}_MAP_COLUMNS ({columns})",
    ]
    code = "heatmaps.c" if len(outputs) == 1 else "four_heads.c"
    sources = {f"{stem}_pose.h": _filled("pose.h", stem), f"{stem}_pose.c": _filled(code, stem)}
    sources[f"app_postprocess_{stem}.c"] = _filled("app_postprocess.c", stem)
    configuration = {"postprocess_conf.h": _st_configuration(outputs[0], rows, columns)} if len(outputs) == 1 else {}
    own = "the adapter of ours; ST's own reads postprocess_conf.h instead" if configuration else "the adapter of ours"
    application = [f"#define POSTPROCESS_TYPE {CUSTOM} /* {own} */", *_display(keypoints)]
    return Firmware(sources, defines, configuration, application)


def _display(keypoints: int) -> list[str]:
    """What the display code of ST's applications asks for."""
    return [f"#define AI_POSE_PP_POSE_KEYPOINTS_NB ({keypoints})", "#define AI_POSE_PP_CONF_THRESHOLD (0.2f)"]


def _st_configuration(heatmaps: Port, rows: int, columns: int) -> str:
    keypoints = heatmaps.graph_shape[1]
    lines = [
        "#ifndef POSTPROCESS_CONF_H",
        "#define POSTPROCESS_CONF_H",
        "",
        f"#define POSTPROCESS_TYPE {postprocess_type('SPE_MOVENET', heatmaps)}",
        f"#define AI_SPE_MOVENET_POSTPROC_HEATMAP_WIDTH ({columns})",
        f"#define AI_SPE_MOVENET_POSTPROC_HEATMAP_HEIGHT ({rows})",
        f"#define AI_SPE_MOVENET_POSTPROC_NB_KEYPOINTS ({keypoints})",
        *_display(keypoints),
        "",
        "#endif",
        "",
    ]
    return "\n".join(lines)


def _filled(name: str, stem: str) -> str:
    text = (files(__package__) / "c" / name).read_text(encoding="utf-8")
    return text.replace("@STEM@", stem).replace("@PREFIX@", stem.upper())
