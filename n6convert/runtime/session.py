"""Running graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import GraphError
from n6convert.runtime.opening import opened, session_options

if TYPE_CHECKING:
    import onnx_ir as ir
    import onnxruntime

    from n6convert.runtime.serialization import Part

__all__ = ["Session", "run_model"]

Array = NDArray[Any]
#: bytes of weights from which they are handed to onnxruntime as they lie in memory or in a file, instead of a copy
_LENT_FROM = 1 << 24
#: smaller tensors always go along with the graph, and those of int64: its shapes may follow from them
_ALONG = 128
#: bytes of weights from which onnxruntime makes no second copy of them in its own order
_NOT_REORDERED_FROM = 1 << 30
#: optimizers that write a weight anew under its name, while the session computes with the one that it borrows
_WRITES_WEIGHTS = ["TransposeOptimizer", "TransposeOptimizer_CPUExecutionProvider"]


class Session:
    """An onnxruntime CPU session over a model, by output name.

    INT8 graphs are computed in integers, the same on every CPU (see :mod:`n6convert.runtime.int8.kernels`).

    Args:
        model: a model in memory or the path of an ONNX file.
        outputs: tensors to return, any of the graph's; what none of them is made from does not run. Default the
            graph's outputs.
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
        options = session_options(optimize=optimize)
        options.intra_op_num_threads = threads or 1
        options.enable_mem_pattern = not few_runs
        try:
            self._session, self._lent, self.quantized = _open(model, outputs, options, last_use)
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
    model: ir.Model | str | Path, outputs: Sequence[str] | None, options: onnxruntime.SessionOptions, last_use: bool
) -> tuple[onnxruntime.InferenceSession, list[onnxruntime.OrtValue], bool]:
    """A session, the weights that it only borrows, and whether the graph holds quantized tensors."""
    import onnx_ir as ir
    import onnxruntime as ort

    from n6convert.graph.extract import with_outputs
    from n6convert.runtime.int8.kernels import is_quantized, with_integer_kernels
    from n6convert.runtime.serialization import leading_to, serialized, whole

    held = model if isinstance(model, ir.Model) else ir.load(model)
    quantized = is_quantized(held)
    if quantized:
        # nothing is left to fuse among integer operators, and what is quantized must not be decided anew
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    if not quantized and outputs is None and not isinstance(model, ir.Model):
        return opened(str(model), options), [], False
    if quantized:
        own = last_use or held is not model or outputs is not None
        part = whole(with_integer_kernels(held if outputs is None else with_outputs(held, outputs), in_place=own))
    else:
        part = whole(held) if outputs is None else leading_to(held, outputs)
    part, lent = _lent(part, options)
    session = opened(serialized(part, lent), options, _WRITES_WEIGHTS if lent else ())
    return session, list(lent.values()), quantized


def _lent(part: Part, options: onnxruntime.SessionOptions) -> tuple[Part, dict[str, onnxruntime.OrtValue]]:
    """The same part, and what the session is to borrow of it where its weights are large, by name."""
    import onnx_ir as ir

    inner = [v for g in part.model.graphs() if g is not part.model.graph for v in g.initializers.values()]
    tensors = [v.const_value for v in (*part.constants, *inner) if v.const_value is not None]
    size = sum(t.nbytes for t in tensors)
    lent: dict[str, onnxruntime.OrtValue] = {}
    if size >= _LENT_FROM or any(isinstance(t, ir.ExternalTensor) for t in tensors):
        part = _read_inside(part) if inner or part.model.functions else part
        borrowed = [] if part.model.functions else part.constants
        lent = {v.name or "": value for v in borrowed if (value := _borrowed(v)) is not None}
        options.add_external_initializers(list(lent), list(lent.values()))  # what the optimizers look at
        for name, value in lent.items():
            options.add_initializer(name, value)  # what the session computes with, or it would copy
    if size >= _NOT_REORDERED_FROM:
        options.add_session_config_entry("session.disable_prepacking", "1")
    return part, lent


def _read_inside(part: Part) -> Part:
    """A copy whose graphs inside nodes hold what they name of other files; with functions, the graph itself as well."""
    import onnx_ir as ir

    from n6convert.runtime.serialization import whole

    model = part.model.clone()
    for graph in model.graphs():
        for value in graph.initializers.values() if graph is not model.graph or model.functions else ():
            if isinstance(value.const_value, ir.ExternalTensor):
                value.const_value = ir.tensor(value.const_value.numpy(), dtype=value.const_value.dtype, name=value.name)
    return whole(model)


def _borrowed(value: ir.Value) -> onnxruntime.OrtValue | None:
    """A weight as it lies in memory or in its file, unless it is small."""
    import onnx_ir as ir
    import onnxruntime as ort

    tensor = value.const_value
    if tensor is None or tensor.nbytes <= _ALONG or tensor.dtype == ir.DataType.INT64:
        return None
    array = tensor.numpy()
    fits = array.dtype.kind in "fiu"
    return ort.OrtValue.ortvalue_from_numpy(np.require(array, requirements=["C", "A"])) if fits else None


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__
