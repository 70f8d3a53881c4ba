"""Bringing a model into an opset that rules and quantizer write and ST Edge AI reads."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.errors import GraphError

__all__ = ["upgrade_opset"]

_MIN_OPSET = 13
_MAX_OPSET = 20
#: HardSwish exists from here on; older models spell it out
_WANTED_OPSET = 14


def upgrade_opset(model: ir.Model, place: object) -> ir.Model:
    """The model in an opset from 14 (HardSwish) to 20 (the newest ST reads), or in 13 (per-channel Q/DQ) if need be.

    Raises:
        GraphError: ONNX's converter cannot do it.
    """
    opset = model.opset_imports.get("", 0)
    if opset < _WANTED_OPSET:
        try:
            return _converted(model, _WANTED_OPSET, place)
        except GraphError:
            if opset < _MIN_OPSET:
                return _converted(model, _MIN_OPSET, place)
    return model if opset <= _MAX_OPSET else _converted(model, _MAX_OPSET, place)


def _converted(model: ir.Model, wanted: int, place: object) -> ir.Model:
    import onnx

    opset = model.opset_imports.get("", 0)
    try:
        converted = onnx.version_converter.convert_version(ir.to_proto(model), wanted)
        onnx.checker.check_model(converted)
    except Exception as error:  # the C++ converter raises RuntimeError, ConvertError, protobuf errors
        raise GraphError(
            f"the model cannot be converted to opset {wanted}",
            place=place,
            found=f"opset {opset}: {str(error).strip()[:200]}",
            limit=f"{_MIN_OPSET}..{_MAX_OPSET}",
            remedy="export it again with opset_version=17",
        ) from error
    return ir.from_proto(converted)
