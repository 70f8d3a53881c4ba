"""Running graphs: the one place where sessions are opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError

if TYPE_CHECKING:
    import onnx_ir as ir
    import onnxruntime

__all__ = ["Session", "run_model"]

Array = NDArray[Any]
#: bytes of weights from which they are handed to onnxruntime as they lie in memory or in a file, instead of a copy
_LENT_FROM = 1 << 24
#: smaller tensors always go along with the graph, and those of int64: its shapes may follow from them
_ALONG = 128
#: bytes of weights from which onnxruntime makes no second copy of them in its own order
_NOT_REORDERED_FROM = 1 << 30
_PROVIDERS = ["CPUExecutionProvider"]
#: optimizers that write a weight anew under its name, while the session computes with the one that it borrows
_WRITES_WEIGHTS = ["TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider"]
#: environment variable; with `plain` operators run one by one, which add in another order than those onnxruntime picks
#: for a CPU: a way to see what hangs on that order
_KERNELS = "N6CONVERT_KERNELS"


class Session:
    """An onnxruntime CPU session over a model, by output name.

    INT8 graphs are computed in integers, the same on every CPU (see :mod:`n6convert.runtime.int8.kernels`).

    Args:
        model: a model in memory or the path of an ONNX file.
        outputs: tensors to return; default the graph's outputs.
        threads: threads inside operators; default 1: cores take samples or processes instead, so that no sum inside an
            operator follows their number.
        optimize: let onnxruntime fuse operators; False keeps every intermediate tensor as written.
        last_use: nobody needs the model in memory afterwards, so it may be changed instead of copied.
        few_runs: no block of memory is planned for all tensors of later runs, which would come on top of the first's.

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
        few_runs: bool = False,
    ) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or 1
        options.enable_mem_pattern = not few_runs
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

    def run_on(self, sample: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs for a sample that may hold more than the graph reads; raises as :meth:`run`."""
        return self.run({name: sample[name] for name in self.inputs})


def run_model(
    model: ir.Model | str | Path, feeds: Mapping[str, Array], *, threads: int | None = None
) -> dict[str, Array]:
    """Run a model once. Raises GraphError as :class:`Session` does.

    Args:
        model: a graph or a file.
        feeds: arrays by input name.
        threads: as :class:`Session` takes them.
    """
    return Session(model, threads=threads).run(feeds)


def _open(
    model: ir.Model | str | Path, options: onnxruntime.SessionOptions, last_use: bool
) -> tuple[onnxruntime.InferenceSession, list[onnxruntime.OrtValue], bool]:
    """A session, the weights that it only borrows, and whether the graph holds quantized tensors."""
    import onnx_ir as ir
    import onnxruntime as ort

    from n6convert.runtime.int8.kernels import QDQ_OPTIMIZERS, is_quantized, with_integer_kernels

    # or signed weights that are left saturate at 16 bits on x86 without VNNI
    options.add_session_config_entry("session.x64quantprecision", "1")
    held = model if isinstance(model, ir.Model) else ir.load(model)
    quantized = is_quantized(held)
    if quantized and options.graph_optimization_level == ort.GraphOptimizationLevel.ORT_ENABLE_ALL:
        # nothing is left to fuse among integer operators; looking for it takes longer than running a few samples
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    if not quantized and not isinstance(model, ir.Model):
        return ort.InferenceSession(str(model), options, _PROVIDERS), [], False
    own = last_use or held is not model
    graph, lent = _lent(with_integer_kernels(held, in_place=own) if quantized else held, options)
    without = [*(QDQ_OPTIMIZERS if quantized else ()), *(_WRITES_WEIGHTS if lent else ())]
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

    from n6convert.graph.copying import copied

    model, lent = copied(model), {}
    for graph in model.graphs():
        for name, value in graph.initializers.items():
            tensor = value.const_value
            if tensor is None:
                continue
            array = tensor.numpy()
            along = tensor.nbytes <= _ALONG or tensor.dtype == ir.DataType.INT64
            if graph is model.graph and not along and array.dtype.kind in "fiu":
                lent[name] = ort.OrtValue.ortvalue_from_numpy(np.require(array, requirements=["C", "A"]))
                value.const_value = ir.ExternalTensor(
                    "lent", 0, tensor.nbytes, tensor.dtype, shape=ir.Shape(array.shape), name=name
                )
            elif isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.tensor(array, dtype=tensor.dtype, name=name)
    return model, lent


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
