"""Inputs that always have the same value: lengths, sample rates, sizes and scale factors of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from onnx_ir.passes import common

from n6convert.errors import RecipeError

__all__ = ["Told", "make_constant"]

#: one number for all elements, or one for each in C order
Told = float | Sequence[float]


def make_constant(model: ir.Model, told: Mapping[str, Told], shapes: Mapping[str, Sequence[int]]) -> list[str]:
    """Make constants of inputs, in place.

    Args:
        model: a graph whose inputs may have open sizes; an open batch is 1.
        told: values by input name.
        shapes: static shapes by input name, for inputs whose own are open.

    Returns:
        What was done, a sentence an input.

    Raises:
        RecipeError: no such input, a size that nothing says, or numbers that do not fit the input's shape or type.
    """
    common.RemoveInitializersFromInputsPass()(model)
    inputs = {v.name or "": v for v in model.graph.inputs}
    for name, numbers in told.items():
        if name not in inputs:
            raise RecipeError("options.constants names no input of the model", found=name, limit=", ".join(inputs))
        value = inputs[name]
        array = _array(value, numbers, shapes.get(name))
        model.graph.inputs.remove(value)
        value.const_value, value.shape = ir.tensor(array, name=name), ir.Shape(array.shape)
        model.graph.register_initializer(value)
    return [f"input {name} is a constant here: {numbers:g}" if isinstance(numbers, (int, float))
            else f"input {name} is a constant here" for name, numbers in told.items()]  # fmt: skip


def _array(value: ir.Value, told: Told, shape: Sequence[int] | None) -> NDArray[np.generic]:
    """The numbers in the input's shape and type."""
    sizes = _sizes(value, told) if shape is None else list(shape)
    numbers = np.asarray(told, np.float64)
    dtype = np.dtype(value.dtype.numpy() if value.dtype is not None else np.float32)
    count = int(np.prod(sizes))
    if numbers.ndim and numbers.size != count:
        limit = f"one, or {count} for the shape {sizes}" if count > 1 else "one"
        what = "options.constants has another number of values than the input"
        raise RecipeError(what, place=value.name, found=numbers.size, limit=limit)
    wanted = np.broadcast_to(numbers.reshape(sizes) if numbers.ndim else numbers, sizes)
    array = wanted.astype(dtype)
    if dtype.kind in "iub" and np.any(array != wanted):
        raise RecipeError(
            "options.constants is no value of the input's type", place=value.name, found=told, limit=dtype
        )
    return array


def _sizes(value: ir.Value, told: Told) -> list[int]:
    dims = [d if isinstance(d, int) and d > 0 else None for d in value.shape or ()]
    known = [1 if d is None and axis == 0 else d for axis, d in enumerate(dims)]
    if isinstance(told, Sequence) and (value.shape is None or dims == [None]):
        return [len(told)]
    sizes = [d for d in known if d is not None]
    if value.shape is None or len(sizes) < len(known):
        guess = [d or 1 for d in known] or [1]
        raise RecipeError(
            "an input that is to be a constant has open sizes", place=value.name, found=dims or "unknown rank",
            remedy=f"set `options: {{shapes: {{{value.name}: {guess}}}}}` with your own numbers",
        )  # fmt: skip
    return sizes
