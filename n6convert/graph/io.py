"""Saving models, and holding the weights that lie beside one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.cache import writing

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["BESIDE_FROM", "hold_weights", "save"]

#: bytes of weights from which they stay in a file of their own: protobuf messages end at 2 GB
BESIDE_FROM = 1 << 30


def hold_weights(model: ir.Model, folder: Path) -> None:
    """Make a freshly read model independent of where it is saved and of the working folder, in place.

    Weights beside the model come into memory; above :data:`BESIDE_FROM` they are read from their file when needed.

    Args:
        folder: where the model's file lies.
    """
    import onnx_ir as ir

    ir.external_data.set_base_dir(model.graph, folder.resolve())
    if _bytes(model) <= BESIDE_FROM:
        ir.external_data.load_to_model(model)


def save(model: ir.Model, path: Path) -> None:
    """Write a model with all its weights: inside, or in ``NAME.onnx.data`` beside it where a message cannot hold them.

    Raises:
        OutputError: the file cannot be written.
    """
    import onnx_ir as ir

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if _bytes(model) > BESIDE_FROM:
            ir.save(model, path, external_data=f"{path.name}.data")
        else:
            with _weights_inside(model):
                ir.save(model, path)


def _values(model: ir.Model) -> list[ir.Value]:
    return [v for graph in model.graphs() for v in graph.initializers.values() if v.const_value is not None]


def _bytes(model: ir.Model) -> int:
    return sum(v.const_value.nbytes for v in _values(model) if v.const_value is not None)


@contextmanager
def _weights_inside(model: ir.Model) -> Iterator[None]:
    """Weights in memory while the model is written: a reference would point into the folder it was read from."""
    import onnx_ir as ir

    held = [(v, v.const_value) for v in _values(model) if isinstance(v.const_value, ir.ExternalTensor)]
    loaded = ir.external_data.convert_tensors_from_external([t for _, t in held if t is not None])
    for (value, _), tensor in zip(held, loaded, strict=True):
        value.const_value = tensor
    try:
        yield
    finally:
        for value, original in held:
            value.const_value = original
