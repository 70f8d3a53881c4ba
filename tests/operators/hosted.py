"""Operators that the table leaves to the host with every version, so that a test names none that a version may take."""

from __future__ import annotations

import onnx.defs

from n6convert.operators.table import refusal_of, row_of, rows
from n6convert.operators.versions import versions

__all__ = ["HOSTED", "REFUSED", "WITHIN"]

_NAMED = {op: row for row in rows() for op in row.operators}


def _hosted(op: str) -> bool:
    found = [row_of(op, version) for version in versions()]
    return all(row is not None and row.host for row in found)


def _from_float_to_float(op: str) -> bool:
    schema = onnx.defs.get_schema(op)
    ports = [*schema.inputs, *schema.outputs]
    return len(ports) == 2 and all("tensor(float)" in port.types for port in ports)


#: every operator that only the host can do
HOSTED = sorted(filter(_hosted, _NAMED))
#: one that no compiler takes in any form, and that one row decides
REFUSED = next(op for op in HOSTED if refusal_of(op) and sum(op in row.operators for row in rows()) == 1)
#: one of one float tensor to another, which may stand between two layers
WITHIN = next(op for op in HOSTED if refusal_of(op) and _from_float_to_float(op))
