"""Activations that are spelled out, as the one operator they are.

``x * Clip(x + 3, 0, 6) / 6`` has four tensors with a grid each, HardSwish has one; the quantizer knows what a gate
tells apart, and the compiler takes it as one pass. Conversions have the rule among their rewrites, a file that is only
quantized gets it here.
"""

from __future__ import annotations

import onnx_ir as ir

from n6convert.graph.builder import Builder
from n6convert.quantization.prepare.operator_forms import take_over
from n6convert.rewrites.rule import Context
from n6convert.rewrites.rules.activation.activation_forms import ActivationForms

__all__ = ["name_activations"]


def name_activations(graph: ir.Graph) -> int:
    """Put HardSigmoid, HardSwish and SiLU in the place of what they are made of; returns how many were.

    What nobody reads any more stays.
    """
    rule, count = ActivationForms(), 0
    for node in list(graph):
        found = rule.pattern(node) if node.op_type in rule.roots else None
        if found is not None:
            build = Builder(graph, node.name or str(node.outputs[0].name), graph.opset_imports[""])
            rule.replace(found, build, Context())
            take_over(graph, node, list(build.nodes))
            count += 1
    return count
