"""C for the board: decoding of the cut head, or ST's post-processing configuration for the full one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from n6convert.plugin import Firmware
from n6convert.plugin.firmware import CUSTOM, c_float, c_string, class_table, postprocess_type
from n6convert_yolov8.architecture import STRIDES
from n6convert_yolov8.head import KINDS, PROTOTYPES

if TYPE_CHECKING:
    from n6convert.plugin.firmware import Port

__all__ = ["classifier", "cut_head", "full_head"]

Keypoints = tuple[int, int] | None
#: boxes on a display at most
_SHOWN = 20
_NO_POST_PROCESSING = """\
/* ST has no post-processing of this model for {dtype} outputs. Convert with one of
   --set package.output_type=int8 or float32 (ST decodes them), --set options.head=cut (the package decodes every type),
   or decode yourself: real = SCALE * (code - ZERO_POINT). */"""


def cut_head(
    stem: str,
    outputs: Sequence[Port],
    size: tuple[int, int],
    *,
    classes: Sequence[str],
    keypoints: Keypoints,
    reg_max: int,
    confidence: float,
    iou: float,
    limit: int = 300,
    end2end: bool = False,
    angles: str = "",
) -> Firmware:
    """``<stem>_decode.c`` and ``.h`` for outputs ``boxes_8``, ``scores_8`` and so on.

    Upright boxes and keypoints get the adapter for the display of ST's applications, too.

    Args:
        stem: of the package's files.
        outputs: of the graph.
        size: input height and width in pixels.
        classes: their names.
        keypoints: count and values for pose.
        reg_max: bins of the box distributions.
        confidence: default of the least score.
        iou: default of the overlap above which the weaker of two boxes goes.
        limit: detections at most.
        end2end: nothing is to be suppressed.
        angles: what the outputs ``angles_8`` and so on hold: ``logits`` or ``radians``; empty without.
    """
    index = {port.name: i for i, port in enumerate(outputs)}
    prefix = stem.upper()
    levels = ",\n".join(_level(index, size, s) for s in STRIDES)
    result = "mpe_pp_out_t" if keypoints else "od_pp_out_t"
    words = {"STEM": stem, "PREFIX": prefix, "LEVELS": levels, "RESULT": result}
    defines = [
        f"#define {prefix}_IMAGE_WIDTH ({size[1]})",
        f"#define {prefix}_IMAGE_HEIGHT ({size[0]})",
        f"#define {prefix}_ANCHORS ({sum((size[0] // s) * (size[1] // s) for s in STRIDES)})",
        f"#define {prefix}_CLASSES ({len(classes)})",
        f"#define {prefix}_REG_MAX ({reg_max})",
        f"#define {prefix}_KEYPOINTS ({keypoints[0] if keypoints else 0})",
        f"#define {prefix}_KEYPOINT_VALUES ({keypoints[1] if keypoints else 0})",
        f"#define {prefix}_END2END ({int(end2end)})",
        f"#define {prefix}_ORIENTED ({int(bool(angles))})",
        f"#define {prefix}_ANGLES_IN_RADIANS ({int(angles == 'radians')})",
        *_prototype_rows(prefix, index, outputs),
        f"#define {prefix}_CONFIDENCE ({confidence}f)",
        f"#define {prefix}_IOU ({iou}f)",
        f"#define {prefix}_MAX_DETECTIONS ({limit})",
        _class_table(prefix, classes),
    ]
    sources = {f"{stem}_decode{end}": _filled(f"decode{end}", words) for end in (".h", ".c")}
    if angles:
        return Firmware(sources, defines, application=class_table(classes))
    sources[f"app_postprocess_{stem}.c"] = _filled("app_postprocess.c", words)
    application = [f"#define POSTPROCESS_TYPE {CUSTOM}", *class_table(classes), *_display(keypoints, limit)]
    return Firmware(sources, defines, application=application)


def classifier(stem: str, output: Port, *, names: Sequence[str], logits: bool) -> Firmware:
    """``<stem>_classify.c`` and ``.h`` for a single output ``[1, classes]``; the names where they are known.

    Args:
        stem: of the package's files.
        output: of the INT8 graph.
        names: of the classes; may be empty.
        logits: whether the output stands in front of the Softmax.
    """
    prefix = stem.upper()
    defines = [f"#define {prefix}_CLASSES ({output.graph_shape[-1]})", f"#define {prefix}_LOGITS ({int(logits)})"]
    defines += [_class_table(prefix, names)] if names else []
    words = {"STEM": stem, "PREFIX": prefix}
    sources = {f"{stem}_classify{end}": _filled(f"classify{end}", words) for end in (".h", ".c")}
    return Firmware(sources, defines, application=class_table(names) if names else [])


def _display(keypoints: Keypoints, limit: int) -> list[str]:
    """What the display code of ST's applications sizes its arrays with."""
    name = "AI_MPE_YOLOV8_PP" if keypoints else "AI_OD_PP"
    lines = [f"#define {name}_MAX_BOXES_LIMIT ({min(limit, _SHOWN)})"]
    return [*lines, f"#define AI_POSE_PP_POSE_KEYPOINTS_NB ({keypoints[0]})"] if keypoints else lines


def full_head(
    output: Port, *, classes: Sequence[str], keypoints: Keypoints, confidence: float, iou: float, limit: int
) -> Firmware:
    """``postprocess_conf.h`` for ST's own YOLOv8 post-processing, which takes the full head's single output.

    Args:
        output: of the INT8 graph.
        classes: names.
        keypoints: their number and values; None: boxes alone.
        confidence: least score.
        iou: overlap from which the weaker box goes.
        limit: detections at the most.
    """
    anchors = output.graph_shape[-1]
    kind, prefix = ("MPE", "AI_MPE_YOLOV8_PP") if keypoints else ("OD", "AI_OD_YOLOV8_PP")
    rows = [
        f"#define POSTPROCESS_TYPE {postprocess_type(f'{kind}_YOLO_V8', output)}",
        f"#define {prefix}_NB_CLASSES ({len(classes)})",
        f"#define {prefix}_TOTAL_BOXES ({anchors})",
        *(
            [
                f"#define {prefix}_KEYPOINTS_NB ({keypoints[0]})",
                f"#define AI_POSE_PP_POSE_KEYPOINTS_NB ({keypoints[0]})",
            ]
            if keypoints
            else []
        ),
        f"#define {prefix}_CONF_THRESHOLD ({confidence}f)",
        f"#define {prefix}_IOU_THRESHOLD ({iou}f)",
        f"#define {prefix}_MAX_BOXES_LIMIT ({limit})",
        f"#define {prefix}_ZERO_POINT ({output.zero_point})",
        f"#define {prefix}_SCALE ({c_float(output.scale)})",
    ]
    if postprocess_type("", output) == CUSTOM:
        rows.insert(0, _NO_POST_PROCESSING.format(dtype=output.dtype))
    text = "\n".join(["#ifndef POSTPROCESS_CONF_H", "#define POSTPROCESS_CONF_H", "", *rows, "", "#endif", ""])
    application = [*class_table(classes), '#include "postprocess_conf.h"']
    return Firmware(configuration={"postprocess_conf.h": text}, application=application)


def _level(index: Mapping[str, int], size: tuple[int, int], stride: int) -> str:
    branches = [index.get(f"{kind}_{stride}", 0) for kind in KINDS]
    return "  {" + ", ".join(f"{v}u" for v in (stride, size[0] // stride, size[1] // stride, *branches)) + "}"


def _prototype_rows(prefix: str, index: Mapping[str, int], outputs: Sequence[Port]) -> list[str]:
    if PROTOTYPES not in index:
        return [f"#define {prefix}_MASKS (0)"]
    _, count, rows, columns = outputs[index[PROTOTYPES]].graph_shape
    sizes = {"MASKS": count, "PROTOTYPES": index[PROTOTYPES], "PROTOTYPE_ROWS": rows, "PROTOTYPE_COLUMNS": columns}
    return [f"#define {prefix}_{word} ({value})" for word, value in sizes.items()]


def _class_table(prefix: str, classes: Sequence[str]) -> str:
    names = ", ".join(map(c_string, classes))
    return f"#define {prefix}_CLASS_NAMES {{{names}}}"


def _filled(name: str, words: Mapping[str, str]) -> str:
    text = (files(__package__) / "c" / name).read_text(encoding="utf-8")
    for word, value in words.items():
        text = text.replace(f"@{word}@", value)
    return text
