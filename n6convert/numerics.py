"""Running graphs and comparing their outputs: the one place where "the same function" is decided."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.dag import reach
from n6convert.errors import GraphError
from n6convert.threads import default_threads

if TYPE_CHECKING:
    import onnx_ir as ir
    import onnxruntime

__all__ = [
    "BOUNDED",
    "LIMIT_DB",
    "Noise",
    "Session",
    "decibel",
    "energy",
    "least_sizes",
    "max_relative_difference",
    "relative_differences",
    "run_model",
    "sqnr_db",
    "squared_gaps",
]

Array = NDArray[Any]
#: bytes of weights from which they are handed to onnxruntime as they lie in memory or in a file, instead of a copy
_LENT_FROM = 1 << 26
#: smaller tensors always go along with the graph, whose shapes may follow from them
_ALONG = 128
#: bytes of weights from which onnxruntime makes no second copy of them in its own order
_NOT_REORDERED_FROM = 1 << 30
#: functions whose range is known; saturated inputs reach both ends
BOUNDED = {"Sigmoid": (0.0, 1.0), "HardSigmoid": (0.0, 1.0), "Softmax": (0.0, 1.0), "Tanh": (-1.0, 1.0)}
#: operators whose output holds values of their first input, unchanged
_MOVES = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
#: the step of such a function's INT8 grid
_STEP = 1 / 256
#: what differences of any other output are measured by at the least
_LEAST = 1e-12
_PROVIDERS = ["CPUExecutionProvider"]
#: environment variable; with `plain` operators run one by one, which add in another order than those onnxruntime picks
#: for a CPU: a way to see what hangs on that order
_KERNELS = "N6CONVERT_KERNELS"
#: dB that no ratio of energies exceeds on either side, so that every figure is finite
LIMIT_DB = 300.0


class Session:
    """An onnxruntime CPU session over a model, by output name.

    INT8 graphs are computed in integers, the same on every CPU (see :mod:`n6convert.int8.kernels`).

    Args:
        model: a model in memory or the path of an ONNX file.
        outputs: tensors to return; default the graph's outputs.
        threads: threads inside operators; default :func:`n6convert.threads.default_threads`.
        optimize: let onnxruntime fuse operators; False keeps every intermediate tensor as written.
        last_use: nobody needs the model in memory afterwards, so it may be changed instead of copied.

    Attributes:
        quantized: whether the graph has tensors that stand for codes.

    Raises:
        GraphError: onnxruntime does not accept the model.
    """

    def __init__(
        self,
        model: ir.Model | str | Path,
        outputs: Sequence[str] | None = None,
        *,
        threads: int | None = None,
        optimize: bool = True,
        last_use: bool = False,
    ) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or default_threads()
        if not optimize or os.environ.get(_KERNELS) == "plain":
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            self._session, self._lent, self.quantized = _open(model, options, last_use)
        except Exception as error:  # onnxruntime raises a dozen unrelated types
            raise GraphError("onnxruntime cannot load the model", found=_first_line(error)) from error
        self.inputs = [i.name for i in self._session.get_inputs()]
        self.outputs = list(outputs) if outputs is not None else [o.name for o in self._session.get_outputs()]

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name for one set of inputs.

        Raises:
            GraphError: an input is missing, has another shape or type, or an operator fails.
        """
        try:
            values = self._session.run(self.outputs, dict(feeds))
        except Exception as error:
            raise GraphError("onnxruntime cannot run the model", found=_first_line(error)) from error
        return dict(zip(self.outputs, values, strict=True))


def run_model(
    model: ir.Model | str | Path, feeds: Mapping[str, Array], *, threads: int | None = None
) -> dict[str, Array]:
    """Run a model once. Raises GraphError as :class:`Session` does.

    Args:
        model: a graph or a file.
        feeds: arrays by input name.
        threads: None: as many as there are cores.
    """
    return Session(model, threads=threads).run(feeds)


def least_sizes(model: ir.Model) -> dict[str, float]:
    """The least that differences of an output are measured by, for outputs that a function bounds by 1: an INT8 step.

    A detector that finds nothing answers zero everywhere, and its largest value is float32's own rounding error.
    """
    return {v.name or "": _STEP for v in model.graph.outputs if _is_bounded(v)}


def _is_bounded(value: ir.Value | None) -> bool:
    return all(_moved_from(v) or _has_bounds(v) for v in reach(value, _moved_from))


def _moved_from(value: ir.Value | None) -> Sequence[ir.Value | None]:
    """What a value is made of by operators that only move values; nothing for another one."""
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Concat":
        return node.inputs
    return node.inputs[:1] if node is not None and node.op_type in _MOVES else ()


def _has_bounds(value: ir.Value | None) -> bool:
    node = value.producer() if value is not None else None
    return node is not None and node.op_type in BOUNDED


def relative_differences(
    reference: Mapping[str, Array], other: Mapping[str, Array], least: Mapping[str, float]
) -> dict[str, float]:
    """:func:`max_relative_difference` of each output, by name; ``least`` as :func:`least_sizes` gives it.

    Args:
        reference: arrays by output name.
        other: arrays by output name.
        least: as :func:`least_sizes` gives it.
    """
    return {n: max_relative_difference(a, other[n], least.get(n, _LEAST)) for n, a in reference.items()}


def max_relative_difference(reference: Array, other: Array, least: float = _LEAST) -> float:
    """Largest absolute difference divided by the largest absolute value of the reference, which counts as ``least``
    at the least.

    NaN counts as infinite difference unless both have it in the same places.

    Args:
        reference: any shape.
        other: the same shape.
        least: what the reference's largest value counts as at the least.
    """
    if reference.shape != other.shape:
        return float("inf")
    if reference.size == 0:
        return 0.0
    a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        gap = np.where(same, 0.0, np.nan_to_num(np.abs(a - b), nan=np.inf))
    finite = np.abs(a[np.isfinite(a)])
    return float(gap.max() / max(finite.max(initial=0.0), least))


def sqnr_db(reference: Array, other: Array) -> float:
    """Signal to quantization noise ratio in dB; infinite for equal arrays, else as :func:`decibel`."""
    return decibel(*_energies(reference, other))


def decibel(signal: float, noise: float) -> float:
    """The ratio of two energies in dB: infinite without noise, else within :data:`LIMIT_DB` on both sides.

    Noise that is infinite or NaN, or noise without any signal, is at the lower limit. Nothing raises.
    """
    if noise == 0:
        return math.inf
    if not (math.isfinite(noise) and signal > 0):
        return -LIMIT_DB
    return min(max(10 * (math.log10(signal) - math.log10(noise)), -LIMIT_DB), LIMIT_DB)


def squared_gaps(reference: Array, other: Array) -> Array:
    """Squared differences in float64: 0 where both hold the same (also NaN or the same infinity), infinite where only
    one is finite."""
    a, b = np.asarray(reference, np.float64), np.asarray(other, np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(same, 0.0, np.nan_to_num((a - b) ** 2, nan=np.inf))


def energy(values: Array) -> float:
    """Sum of the squares of the finite values."""
    finite = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        return float(np.sum(finite[np.isfinite(finite)] ** 2))


def _energies(reference: Array, other: Array) -> tuple[float, float]:
    """Energy of a signal, and of what was added to it."""
    with np.errstate(over="ignore"):
        return energy(reference), float(np.sum(squared_gaps(reference, other)))


def _open(
    model: ir.Model | str | Path, options: onnxruntime.SessionOptions, last_use: bool
) -> tuple[onnxruntime.InferenceSession, list[onnxruntime.OrtValue], bool]:
    """A session, the weights that it only borrows, and whether the graph holds quantized tensors."""
    import onnx_ir as ir
    import onnxruntime as ort

    from n6convert.int8.kernels import QDQ_OPTIMIZERS, is_quantized, with_integer_kernels

    # or signed weights that are left saturate at 16 bits on x86 without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    held = model if isinstance(model, ir.Model) else ir.load(model)
    quantized = is_quantized(held)
    if not quantized and not isinstance(model, ir.Model):
        return ort.InferenceSession(str(model), options, _PROVIDERS), [], False
    graph, lent = _lent(with_integer_kernels(held, in_place=last_use) if quantized else held, options)
    without = list(QDQ_OPTIMIZERS) if quantized else []
    session = ort.InferenceSession(_serialized(graph), options, _PROVIDERS, disabled_optimizers=without)
    return session, list(lent.values()), quantized


def _serialized(model: ir.Model) -> bytes:
    """The model as onnxruntime reads it, without the types and shapes of inner tensors, which it finds itself."""
    import onnx_ir as ir
    from onnx_ir import serde

    if model.functions:
        return bytes(ir.to_proto(model).SerializeToString())
    proto = ir.to_proto(ir.Model(ir.Graph([], [], nodes=[], name="main"), ir_version=model.ir_version))
    del proto.opset_import[:]
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    graph = proto.graph
    for value in model.graph.inputs:
        serde.serialize_value_into(graph.input.add(), value)
    for value in model.graph.outputs:
        serde.serialize_value_into(graph.output.add(), value)
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            tensor = graph.initializer.add()
            serde.serialize_tensor_into(tensor, value.const_value)
            tensor.name = name
    for node in model.graph:
        serde.serialize_node_into(graph.node.add(), node)
    return bytes(proto.SerializeToString())


def _lent(model: ir.Model, options: onnxruntime.SessionOptions) -> tuple[ir.Model, dict[str, onnxruntime.OrtValue]]:
    """The model without its weights where these are large, and what the session is to borrow instead, by name."""
    import onnx_ir as ir

    tensors = [v.const_value for g in model.graphs() for v in g.initializers.values() if v.const_value is not None]
    size = sum(t.nbytes for t in tensors)
    lent: dict[str, onnxruntime.OrtValue] = {}
    if size >= _LENT_FROM or any(isinstance(t, ir.ExternalTensor) for t in tensors):
        model, lent = _lend(model)
        options.add_external_initializers(list(lent), list(lent.values()))  # what the optimizers look at
        for name, value in lent.items():
            options.add_initializer(name, value)  # what the session computes with, or it would copy
    if size >= _NOT_REORDERED_FROM:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return model, lent


def _lend(model: ir.Model) -> tuple[ir.Model, dict[str, onnxruntime.OrtValue]]:
    """A copy of the model that only names its larger weights, and these by name; no weight is copied."""
    import onnx_ir as ir
    import onnxruntime as ort

    model, lent = model.clone(), {}
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is None:
                continue
            array = tensor.numpy()
            if graph is model.graph and tensor.nbytes > _ALONG and array.dtype.kind in "fiu":
                lent[name] = ort.OrtValue.ortvalue_from_numpy(np.require(array, requirements=["C", "A"]))
                value.const_value = ir.ExternalTensor(
                    "lent", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name
                )
            elif isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.tensor(array, dtype=tensor.dtype, name=name)
    return model, lent


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__


@dataclass
class Noise:
    """Energy of a signal and of what was added to it, summed over samples."""

    signal: float = 0.0
    noise: float = 0.0

    def add(self, reference: NDArray[Any], other: NDArray[Any]) -> None:
        """Add one sample's outputs."""
        signal, noise = _energies(reference, other)
        self.signal += signal
        self.noise += noise

    @property
    def sqnr_db(self) -> float | None:
        """In dB, as :func:`decibel`; None when both were equal."""
        return decibel(self.signal, self.noise) if self.noise else None
