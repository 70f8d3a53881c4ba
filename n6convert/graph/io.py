"""Loading, checking and saving model files, for every command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from n6convert.errors import GraphError, SourceError
from n6convert.graph.fault import Fault, shortened
from n6convert.store.cache import os_errors
from n6convert.store.inputs import exists, no_such_file

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir

__all__ = ["BESIDE_FROM", "expand_functions", "faults", "load", "model_of", "parse", "read", "refuse_no_file", "save"]

#: bytes of weights from which they stay in a file of their own: protobuf messages end at 2 GB
BESIDE_FROM = 1 << 30
_LARGEST_MESSAGE = (1 << 31) - 1
#: faults of one kind that are looked for
_ENOUGH = 100
#: with raised IR version, initializers may be listed as inputs but need not be
_LEAST_IR = 4
#: at byte 4 of a file in onnxruntime's own format
_ORT_MAGIC = b"ORTM"


def load(path: str | Path) -> ir.Model:
    """Read an ONNX file and check it; weights beside it come into memory, or are read where it lies when above 1 GB.

    Raises:
        SourceError: no such file, or no ONNX model in it.
        GraphError: the model has a fault, which the message names.
    """
    path = Path(path)
    return model_of(_checked(path), path)


def read(path: Path, longest: int) -> onnx.ModelProto:
    """The same as a message, into which weights beside the file are read that take at most so many bytes each."""
    from n6convert.graph.external import attach

    model = _checked(path)
    attach(model, path.parent, longest)
    return model


def _checked(path: Path) -> onnx.ModelProto:
    model = parse(path)
    for fault in faults(model, path):
        raise fault.error(path)
    return model


def parse(path: Path) -> onnx.ModelProto:
    """The message in a file, not yet checked. Raises SourceError and GraphError as :func:`load` does."""
    import onnx

    refuse_no_file(path)
    size = path.stat().st_size
    if size > _LARGEST_MESSAGE:
        raise GraphError(
            "the ONNX file is larger than its format allows", place=path, limit=f"{_LARGEST_MESSAGE:,} bytes",
            found=f"{size:,} bytes", remedy="save its weights beside it: onnx.save(..., save_as_external_data=True)",
        )  # fmt: skip
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError("the ONNX file cannot be read", place=path, found=error.strerror) from error
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except Exception as error:  # the DecodeError of whichever implementation protobuf has here
        if content[4:8] == _ORT_MAGIC:
            raise SourceError(
                "the file is in onnxruntime's own format (ORT)", place=path, limit="ONNX, TFLite or Keras",
                remedy="give the .onnx file that it was made from",
            ) from error  # fmt: skip
        raise SourceError(
            "not a readable ONNX model, or a damaged one", place=path, found=shortened(str(error)),
            remedy="export it again; a download may be truncated or a Git LFS pointer",
        ) from error  # fmt: skip
    return model


def refuse_no_file(path: Path) -> None:
    """Raise SourceError, with the nearest names beside it, where there is no file to read."""
    if exists(path) and path.is_dir():
        raise SourceError(
            "a folder in place of a model file", place=path, remedy="give the file in it: *.onnx or *.tflite"
        )
    if not exists(path):
        raise no_such_file(path)
    if not path.is_file():
        raise SourceError("neither a file nor a folder", place=path, limit="a model file")


def faults(model: onnx.ModelProto, path: Path) -> list[Fault]:
    """Everything that keeps a model from being computed with; none of its tensors is allocated.

    What may be read in one way only is written so, in place: local functions are expanded, nodes sorted, input sizes
    of 0 and -1 left open. The first kind of fault ends the search, since later checks build on earlier ones.
    """
    return next((found for check in _checks(model, path.parent) if (found := list(islice(check, _ENOUGH)))), [])


def _checks(model: onnx.ModelProto, folder: Path) -> Iterator[Iterator[Fault]]:
    from n6convert.graph import signatures, sizes, structure, tensors
    from n6convert.graph.external import external_faults

    yield structure.text_faults(model)
    yield structure.count_faults(model)
    yield expand_functions(model)
    sizes.open_unknown_sizes(model.graph)
    sizes.type_returned_inputs(model.graph)
    yield structure.interface_faults(model.graph)
    yield structure.wiring_faults(model.graph)
    yield tensors.tensor_faults(model)
    yield signatures.signature_faults(model)
    yield sizes.input_faults(model.graph)
    yield external_faults(model, folder)
    structure.sort_nodes(model.graph)
    yield sizes.size_faults(model)


def expand_functions(model: onnx.ModelProto) -> Iterator[Fault]:
    """Replace calls of local functions by their bodies, in place; or what keeps that from being done."""
    from onnx import inliner

    if not model.functions:
        return
    try:
        expanded = inliner.inline_local_functions(model)
    except Exception as error:  # onnx raises its own C++ exception types here
        yield Fault("functions", "the model's local functions cannot be expanded", found=shortened(str(error)))
    else:
        model.CopyFrom(expanded)


def model_of(message: onnx.ModelProto, path: Path) -> ir.Model:
    """A message in which :func:`faults` found none as a model that can be saved anywhere."""
    import onnx_ir as ir

    from n6convert.graph.external import attach, external_bytes

    size = path.stat().st_size + external_bytes(message)
    attach(message, path.parent, None if size <= BESIDE_FROM else 0)
    try:
        model = ir.from_proto(message)
    except Exception as error:  # whatever a field that no check knows makes onnx-ir raise
        raise GraphError(
            "not a readable ONNX model", place=path, found=shortened(f"{type(error).__name__}: {error}"),
            remedy="export it again",
        ) from error  # fmt: skip
    ir.external_data.set_base_dir(model.graph, path.parent.resolve())
    model.ir_version = max(model.ir_version or 0, _LEAST_IR)
    return model


def save(model: ir.Model, path: Path) -> None:
    """Write a model with all its weights: inside, or in ``NAME.onnx.data`` beside it where a message cannot hold them.

    Raises:
        OutputError: the file cannot be written.
    """
    import onnx_ir as ir

    with os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = f"{path.name}.data" if _bytes(model) > BESIDE_FROM else None
        with _as_arrays(model):
            ir.save(model, path, format="protobuf", external_data=beside)


def _values(model: ir.Model) -> list[ir.Value]:
    return [v for graph in model.graphs() for v in graph.initializers.values() if v.const_value is not None]


def _bytes(model: ir.Model) -> int:
    return sum(v.const_value.nbytes for v in _values(model) if v.const_value is not None)


@contextmanager
def _as_arrays(model: ir.Model) -> Iterator[None]:
    """References to files as arrays over these files while the model is written.

    A reference would be written as one, into the folder that the model was read from, and onnx-ir closes the file
    behind it, which arrays that somebody else holds do not allow.
    """
    import onnx_ir as ir

    held = [(v, t) for v in _values(model) if isinstance(t := v.const_value, ir.ExternalTensor)]
    for value, tensor in held:
        value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name)
    try:
        yield
    finally:
        for value, tensor in held:
            value.const_value = tensor
