"""Refining an INT8 model on samples: rounding and bias correction in one walk over its layers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.patterns.layers import layers_by_name
from n6convert.quantization.layerwise.bias_correction import Wanted, channel_means, correct_bias, set_bias, shift_bias
from n6convert.quantization.layerwise.compensation import FloatResults, compensated
from n6convert.quantization.layerwise.narrow_rounding import narrow_layer
from n6convert.quantization.layerwise.rounding import LastMoments, lies_between_codes, round_layer
from n6convert.quantization.layerwise.walk import Layer, layers_at_once, layers_of, walk_layers
from n6convert.quantization.prepare.operator_forms import constant
from n6convert.quantization.ranges.calibrate import Progress
from n6convert.quantization.time_budget import BudgetExceeded, TimeBudget
from n6convert.quantization.weights.shared_weights import round_together, together
from n6convert.runtime.halves import Half

__all__ = ["refine"]


def refine(
    float_model: ir.Model,
    model: ir.Model,
    samples: Iterable[Mapping[str, NDArray[Any]]],
    *,
    rounding: bool,
    bias: bool,
    means: Mapping[str, Wanted] | None = None,
    otherwise: ir.Model | None = None,
    narrow: Collection[str] = (),
    compensating: Collection[str] = (),
    only: Collection[str] | None = None,
    budget: TimeBudget | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
    in_place: bool = False,
    half: Half | None = None,
) -> tuple[ir.Model, list[str]]:
    """The INT8 model with its weights rounded anew and its biases corrected, layer after layer.

    Where weights alone are rounded, each layer sees what reaches it before the others are, if that fits in memory.

    Args:
        samples: gone through once for the layers, once for the means that biases need, once where layers share weights;
            none but their int8 codes is kept.
        means: what :func:`channel_means` found of the float model before; default: found here.
        otherwise: the same model, refined otherwise before: layers that the budget leaves no time for become as they
            are there. Default: they stay as they are.
        narrow: layers whose codes are those of four bits. Where there are any, no others are rounded but compensating
            ones.
        compensating: layers whose weights also take back what the layers before did to their inputs.
        only: layers that are refined; None: all.
        in_place: the model itself is changed, not a copy of it; not for one that lends layers their values.
        budget: looked at between layers, between samples and inside the rounding of a layer.
        half: of the samples that those given are, while the biases of the others are corrected in step; not for
            rounding. None: these are all.

    Returns:
        The model, and the names of the layers that were left.

    Raises:
        BudgetExceeded: all layers would have been left.
    """
    budget = budget or TimeBudget()
    refined, otherwise = model if in_place and otherwise is not None else model.clone(), otherwise or model
    nodes = layers_by_name(float_model.graph)
    shared = together(float_model) if rounding and not narrow else []
    apart = set(nodes) - {name for names in shared for name in names}
    layers = {layer.name: layer for layer in layers_of(refined)}
    asked = apart if only is None else apart.intersection(only)
    rounded = _to_round(layers, nodes, asked, {*narrow, *compensating} if narrow else None) if rounding else set()
    shifted = set(layers if only is None else only) if bias else set()
    left = {name: layer for name, layer in layers.items() if name in shifted or name in rounded}
    count = len(left)
    try:
        if shared and only is None:
            round_together(refined, {n: node.inputs[1] for n, node in nodes.items()}, shared, samples, threads, budget)
        if means is None:
            means = channel_means(float_model, budget.watch(samples), threads) if bias else {}
        exact = FloatResults(
            float_model, samples, [n for n in left if n in compensating and n in apart], threads, budget
        )
        last = LastMoments()
        at_once = None if bias or compensating else layers_at_once(refined, samples, threads, budget, rounded)
        for layer in (at_once or walk_layers(refined, samples, threads, budget, frozenset(left))) if left else ():
            if layer.name in rounded:
                _round(layer, nodes[layer.name], exact, budget, last, narrow=layer.name in narrow)
            if layer.name in shifted and layer.name in means:
                correct_bias(layer, means[layer.name], half)
            left.pop(layer.name, None)
            if progress is not None:
                progress("refining layers", count - len(left), count)
    except BudgetExceeded:
        if len(left) == count:
            raise
        _copy_integers(otherwise, left)
    return refined, list(left)


def _to_round(
    layers: Mapping[str, Layer], nodes: Mapping[str, ir.Node], asked: set[str], four_bits: set[str] | None
) -> set[str]:
    """Layers that are rounded one by one: those that four bits concern, else those whose rounding leaves a choice."""
    if four_bits is not None:
        return asked & four_bits
    return {n for n in asked if n in layers and lies_between_codes(layers[n], constant(nodes[n].inputs[1]))}


def _round(
    layer: Layer, node: ir.Node, exact: FloatResults, budget: TimeBudget, last: LastMoments, *, narrow: bool
) -> None:
    weight, known = constant(node.inputs[1]), exact.of(layer)
    found = None if known is None else compensated(layer, weight, known)
    if found is not None:
        set_bias(layer, constant(node.inputs[2]))
        shift_bias(layer, found.shift)
        weight = found.weight
    if narrow:
        narrow_layer(layer, weight, budget, None if found is None else found.inputs)
    else:
        round_layer(layer, weight, budget, None if found is None else found.inputs.moments, last=last)


def _copy_integers(source: ir.Model, layers: Mapping[str, Layer]) -> None:
    """Give the layers the integer weights and biases that those of the same name have in another model."""
    for other in layers_of(source):
        for index in (1, 2) if other.name in layers else ():
            layers[other.name].initializer(index).const_value = other.initializer(index).const_value
