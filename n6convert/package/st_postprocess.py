"""Which of ST's post-processings takes an output: the applications know it by one word in ``app_config.h``."""

from __future__ import annotations

from n6convert.package.ports import Port

__all__ = ["CUSTOM", "postprocess_type"]

CUSTOM = "POSTPROCESS_CUSTOM"
#: ST's letters for the element type of the output, behind U for a uint8 camera image as the input
_LETTERS = {"float32": "UF", "int8": "UI"}


def postprocess_type(family: str, output: Port) -> str:
    """The macro's value, such as ``POSTPROCESS_OD_YOLO_V8_UI``; :data:`CUSTOM` where ST has none for this type.

    Args:
        family: ST's name of task and model, such as ``OD_YOLO_V8``; it exists for int8 and float32 outputs.
    """
    letters = _LETTERS.get(output.dtype)
    return f"POSTPROCESS_{family}_{letters}" if letters else CUSTOM
