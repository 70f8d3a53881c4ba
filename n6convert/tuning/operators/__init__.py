"""Operators of ONNX as torch computes them, by name: :data:`OPERATORS`.

A function gets the node and its operands (values, :class:`~n6convert.tuning.fake_quantization.Steps`, or numpy arrays
of whole numbers) and returns the output, or a tuple of outputs.
"""

from __future__ import annotations

from n6convert.tuning.operators.elementwise import ELEMENTWISE
from n6convert.tuning.operators.movement import MOVEMENT
from n6convert.tuning.operators.node import Node
from n6convert.tuning.operators.products import PRODUCTS
from n6convert.tuning.operators.reductions import REDUCTIONS

__all__ = ["OPERATORS", "Node"]

OPERATORS = {**ELEMENTWISE, **MOVEMENT, **PRODUCTS, **REDUCTIONS}
