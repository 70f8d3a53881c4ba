"""The model `onnx`: a network of the user's own, from ONNX, TFLite, SavedModel or Keras."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray
from pydantic import Field

from n6convert.builtin.constant_inputs import make_constant
from n6convert.builtin.images import RANGES, ImageFormat, guess_layout, guess_range, range_of
from n6convert.builtin.static import cut, fix_shapes, settle_shapes, to_float32
from n6convert.builtin.words import WordPiece
from n6convert.builtin.yolo_head import YoloHead, find_yolo_head
from n6convert.errors import N6ConvertError, RecipeError, SourceError
from n6convert.graph.idle_ports import drop_copied_outputs, drop_unread_inputs
from n6convert.graph.integer_ports import float_inputs, refuse_integers
from n6convert.graph.opset import lower_opset, upgrade_opset
from n6convert.graph.port_shapes import fit_ports, same_bytes
from n6convert.graph.refusals import refuse_training, refuse_unknown
from n6convert.operators.host import refuse_host_operators
from n6convert.plugin import (
    BuildRequest,
    Feeds,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Prediction,
    Sample,
    SampleSource,
    TensorInfo,
    Weights,
)
from n6convert.requantization import Given, as_qdq, dequantize, quantized_style, refuse_other_styles, with_float_ends
from n6convert.rewrites.loops import write_out_loops

__all__ = ["OnnxFile", "OnnxOptions"]

_INTEGERS = {"int32", "int64"}
#: (mean, std) in pixel units of images that the file takes as integers
_PIXELS = {"uint8": (0.0, 1.0), "int8": (128.0, 1.0)}
_Numbers = float | list[float]


class OnnxOptions(PluginOptions):
    """What cannot be read off the file; everything is optional until something asks for it."""

    shapes: dict[str, list[int]] = Field(default_factory=dict, description="static shape by input name")
    constants: dict[str, _Numbers] = Field(
        default_factory=dict,
        description="inputs that always have this value, by name: lengths, a sample rate, a scale factor",
    )
    imgsz: int | tuple[int, int] | None = Field(None, description="height and width where the file leaves both open")
    outputs: list[str] = Field(default_factory=list, description="cut the graph at these tensors")
    head: Literal["auto", "keep"] = Field(
        "auto", description="`auto`: end a YOLO network in front of the Concat that joins pixels with probabilities"
    )
    layout: Literal["auto", "nchw", "nhwc"] = Field("auto", description="layout of the image input")
    range: str | None = Field(None, description=f"values of the image input: {', '.join(RANGES)}")
    mean: _Numbers | None = Field(None, description="subtracted from pixels * scale, one number or one per channel")
    std: _Numbers | None = Field(None, description="then divided by")
    scale: float = Field(1.0, gt=0, description="pixels (0..255) are multiplied by this before mean and std")
    color: Literal["rgb", "bgr"] = Field("rgb", description="channel order")
    resize: Literal["stretch", "crop", "letterbox"] | None = Field(None, description="how images are made to fit")
    crop: float = Field(0.875, gt=0, le=1, description="share of the short side that `resize: crop` keeps")
    dequantize: bool = Field(
        False,
        description="take a quantized file (QDQ or QOperator ONNX, INT8 TFLite): its weights and grids are kept",
    )
    vocab: str | None = Field(None, description="vocab.txt of a BERT-like model, for calibration with text")
    samples: Literal["auto", "image", "arrays"] = Field(
        "auto", description="what calibration holds; `arrays`: ready inputs as .npy or .npz also for an image input"
    )
    task: Literal["none", "classification"] = Field("none", description="how answers are read and judged")
    top: int = Field(5, ge=1, description="classification: how many classes a prediction lists")


class OnnxFile(ModelPlugin):
    """A model file of the user's own: ``n6convert my_model.onnx --calibration FOLDER``."""

    Options: ClassVar[type[PluginOptions]] = OnnxOptions
    summary: ClassVar[str] = "a network of your own: .onnx, .tflite, .keras or SavedModel"
    takes_ready_inputs: ClassVar[bool] = True
    options: OnnxOptions

    @property
    def sample_kind(self) -> str:  # type: ignore[override]
        """``image``, ``text`` or ``arrays``, as the built model's inputs say."""
        told = self.options.samples
        return told if told != "auto" else self.info.metadata["sample_kind"]

    def check_folder(self, path: Path) -> None:
        """The folder is a SavedModel."""
        from n6convert.importers import tensorflow_kind

        if tensorflow_kind(path) is None:
            raise _no_saved_model(path)

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        if weights == "pretrained":
            raise RecipeError(
                "the model `onnx` is a file of your own", remedy="n6convert my_model.onnx, or weights: my_model.onnx"
            )
        return None

    def build(self, request: BuildRequest) -> FloatModel:
        path = request.weights.path
        if path is None:
            raise RecipeError("the model `onnx` has no weights of its own", remedy="give a model file")
        request.progress("reading", 0, None)
        model, given = _read(path, request.scratch), None
        grids: dict[str, tuple[float, float]] = {}
        notes = make_constant(model, self.options.constants, self.options.shapes)
        if quantized_style(model) == "qoperator":
            as_qdq(model, path)
        if quantized_style(model) is not None:
            model, given, taken = self._taken_back(model, path)
            spans = {v.name or "": taken.grids[v.name].span for v in model.graph.inputs if v.name in taken.grids}
            grids = {name: pixels for name, span in spans.items() if (pixels := range_of(*span)) is not None}
            grids, notes = grids | taken.pixels, [*notes, taken.note]
        outputs = self.options.outputs
        if not outputs and self.options.head == "auto" and (head := self._head(model)) is not None:
            outputs = list(head.outputs)
            notes.append(head.note)
        if outputs:
            cut(model, outputs)
            given = None if given is None else _cut_alike(given, outputs)
        refuse_unknown(model)
        refuse_training(model)
        refuse_host_operators(model)
        to_float32(model)
        unread, copied = drop_unread_inputs(model), drop_copied_outputs(model)
        if given is not None:
            drop_unread_inputs(given)
        integers = [] if self.options.vocab is not None else float_inputs(model)
        if self.options.vocab is None:
            refuse_integers(model, path)
        grids |= {port.name: _PIXELS[port.dtype] for port in integers if port.dtype in _PIXELS}
        self._fix_shapes(model, unread)
        model = lower_opset(model, path)
        model = write_out_loops(model)
        settle_shapes(model)
        model = upgrade_opset(model, path)
        settle_shapes(model)
        unread += drop_unread_inputs(model)  # what was read for its shape alone
        other = fit_ports(model)
        notes += [port.note for port in integers if port.name not in unread]
        notes += [f"input {name} is left out: no operator reads its values" for name in unread]
        notes += [f"output {name} is left out: it is {origin} under another name" for name, origin in copied.items()]
        facts = self._metadata(model, grids, other) | ({"note": "; ".join(notes)} if notes else {})
        return FloatModel(model, facts, given if given is not None and _same_inputs(given, model) else None)

    def _taken_back(self, model: ir.Model, path: Path) -> tuple[ir.Model, ir.Model, Given]:
        """The float model that a quantized one stands for, the quantized one with float ends, and what it gave."""
        refuse_other_styles(model, path)
        if not self.options.dequantize:
            raise SourceError(
                "the model is already quantized, and this starts from float", place=path,
                remedy=f"`n6convert requantize {path.name}` keeps its weights and grids; `n6convert lint` and "
                "`n6convert estimate` judge it as it is; best is the float model it was made from",
            )  # fmt: skip
        self._fix_shapes(model)
        given = with_float_ends(model, path)
        taken = dequantize(model, path)
        return model, given, taken

    def _fix_shapes(self, model: ir.Model, gone: Sequence[str] = ()) -> None:
        size = self.options.imgsz
        gone = [*gone, *self.options.constants]
        shapes = {name: shape for name, shape in self.options.shapes.items() if name not in gone}
        fix_shapes(model, shapes, (size, size) if isinstance(size, int) else size)

    def _head(self, model: ir.Model) -> YoloHead | None:
        """The YOLO head that the graph ends in, looked for where its shapes are known and its constants folded."""
        if not {"Sigmoid", "Concat", "Conv"} <= {n.op_type for n in model.graph}:
            return None
        copy = model.clone()
        try:
            to_float32(copy)
            float_inputs(copy)
            self._fix_shapes(copy)
            settle_shapes(copy)
            return find_yolo_head(copy)
        except N6ConvertError:
            return None  # the same fault is reported where the model itself is read

    def encode(self, sample: Sample) -> Feeds:
        if isinstance(sample.data, str):
            return self._encode_text(sample.data)
        if isinstance(sample.data, Mapping):
            return self._encode_arrays(sample.data)
        if self.sample_kind == "image" and sample.data.dtype == np.uint8 and sample.data.ndim in {2, 3}:
            return {self._image.name: self._format.encode(sample.data, self._image.name)}
        return self._encode_arrays({self.info.inputs[0].name: sample.data})

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> Prediction:
        if self.options.task == "none":
            return dict(outputs)
        from n6convert.metrics.classification import rank

        return rank(next(iter(outputs.values())), self.options.top, self._names())

    def metric(self) -> Any:
        if self.options.task == "none":
            return None
        from n6convert.metrics.classification import Classification

        return Classification(self._names())

    def prepare(self, source: SampleSource) -> SampleSource:
        if self.options.task == "none":
            return source
        from n6convert.metrics.class_folders import by_folder

        return by_folder(source, self._names(), self.info.outputs[0].shape[-1])

    def _metadata(self, model: ir.Model, grids: Mapping[str, tuple[float, float]], other: set[str]) -> dict[str, str]:
        facts = {key: text for key, text in model.metadata_props.items() if key in {"names", "task", "stride"}}
        images = self._images(model, grids, other)
        if len(images) == 1 and len(model.graph.inputs) == 1:
            name, form = images[0]
            return facts | {"sample_kind": "image", "image_input": name, "image": form.to_json()}
        integers = all(v.dtype in {ir.DataType.INT32, ir.DataType.INT64} for v in model.graph.inputs)
        return facts | {"sample_kind": "text" if integers and self.options.vocab else "arrays"}

    def _images(
        self, model: ir.Model, grids: Mapping[str, tuple[float, float]], other: set[str]
    ) -> list[tuple[str, ImageFormat]]:
        """Inputs that are images; ``other`` are none, whatever their shape."""
        found = []
        for value in (v for v in model.graph.inputs if v.name not in other):
            told = self.options.layout
            layout = (told if told != "auto" else guess_layout(value)) if _rank(value) == 4 else None
            if layout is None or value.dtype != ir.DataType.FLOAT:
                continue
            shape = [d for d in value.shape or () if isinstance(d, int)]
            height, width, channels = shape[1:] if layout == "nhwc" else (*shape[2:], shape[1])
            mean, std = self._scaling(value, model.metadata_props, grids)
            form = ImageFormat(layout, height, width, channels, mean, std, self.options.color)
            found.append((value.name or "", _with_fit(form, self.options, model.metadata_props)))
        return found

    def _scaling(
        self, value: ir.Value, metadata: Mapping[str, str], grids: Mapping[str, tuple[float, float]]
    ) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
        """(mean, std) in pixel units: as told, else as the file tells, else unknown."""
        options = self.options
        if options.mean is not None or options.std is not None:
            mean, std = _numbers(options.mean, 0.0), _numbers(options.std, 1.0)
            return tuple(m / options.scale for m in mean), tuple(s / options.scale for s in std)
        name = options.range
        if name is not None and name not in RANGES:
            raise RecipeError("unknown range", place="options.range", found=name, limit=", ".join(RANGES))
        if name is None and (value.name or "") in grids:
            zero, std_of_grid = grids[value.name or ""]
            return (zero,), (std_of_grid,)
        name = name or guess_range(value, metadata)
        return RANGES[name] if name is not None else (None, None)

    @property
    def _image(self) -> TensorInfo:
        name = self.info.metadata["image_input"]
        return next(tensor for tensor in self.info.inputs if tensor.name == name)

    @property
    def _format(self) -> ImageFormat:
        return ImageFormat.from_json(self.info.metadata["image"])

    def _encode_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> Feeds:
        if len(self.info.inputs) == 1 and len(arrays) == 1:
            arrays = {self.info.inputs[0].name: next(iter(arrays.values()))}
        return {tensor.name: _array_for(tensor, arrays) for tensor in self.info.inputs}

    def _encode_text(self, text: str) -> Feeds:
        if self.options.vocab is None:
            raise RecipeError("text needs a vocabulary", remedy="set options.vocab to the model's vocab.txt")
        words, feeds = WordPiece(Path(self.options.vocab)), {}
        for tensor in self.info.inputs:
            if tensor.dtype not in _INTEGERS:
                raise SourceError("text cannot be turned into a float input", place=tensor.name)
            ids, mask = words.encode(text, tensor.shape[-1])
            lowered = tensor.name.lower()
            row = mask if "mask" in lowered else [0] * len(ids) if "type" in lowered or "segment" in lowered else ids
            feeds[tensor.name] = np.array([row], tensor.dtype).reshape(tensor.shape)
        return feeds

    def _names(self) -> Sequence[str]:
        """Class names that the exporter left in the file's metadata."""
        try:
            names = ast.literal_eval(self.info.metadata.get("names", "()"))
        except (ValueError, SyntaxError):
            return ()
        if isinstance(names, dict):
            names = [names[key] for key in sorted(names)]
        return [str(name) for name in names] if isinstance(names, (list, tuple)) else ()


def _cut_alike(model: ir.Model, outputs: Sequence[str]) -> ir.Model | None:
    """The quantized model cut at the same tensors; None where it has them in another form only."""
    try:
        cut(model, outputs)
    except RecipeError:
        return None
    return model


def _same_inputs(model: ir.Model, other: ir.Model) -> bool:
    shapes = [[(v.name, list(v.shape or ())) for v in m.graph.inputs] for m in (model, other)]
    return shapes[0] == shapes[1]


def _no_saved_model(path: Path) -> SourceError:
    return SourceError("the folder is no SavedModel", place=path, limit="a folder with saved_model.pb")


def _read(path: Path, scratch: Path) -> ir.Model:
    from n6convert.graph.io import load
    from n6convert.importers import import_tensorflow, tensorflow_kind

    if tensorflow_kind(path) is not None:
        return import_tensorflow(path, scratch)
    if path.is_dir():
        raise _no_saved_model(path)
    return load(path)


def _with_fit(form: ImageFormat, options: OnnxOptions, metadata: Mapping[str, str]) -> ImageFormat:
    from dataclasses import replace

    ultralytics = {"stride", "task", "names"} <= set(metadata)
    default = "letterbox" if ultralytics else "crop" if options.task == "classification" else "stretch"
    return replace(form, fit=options.resize or default, crop=options.crop)


def _array_for(tensor: TensorInfo, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if tensor.name not in arrays:
        raise SourceError("a sample lacks an input", limit=tensor.name, found=", ".join(arrays))
    array = np.asarray(arrays[tensor.name])
    if same_bytes(array.shape, tensor.shape):
        array = array.reshape(tensor.shape)
    if array.shape != tensor.shape:
        raise SourceError(
            "a sample has another shape than the input", place=tensor.name, limit=tensor.shape, found=array.shape
        )
    return np.ascontiguousarray(array, tensor.dtype)


def _numbers(told: _Numbers | None, default: float) -> tuple[float, ...]:
    if told is None:
        return (default,)
    return tuple(told) if isinstance(told, list) else (float(told),)


def _rank(value: ir.Value) -> int:
    return 0 if value.shape is None else len(value.shape)
