"""The board times that the predictor is held against, and the networks they belong to."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import onnx
from nets import architectures as nets
from nets import detectors, originals, zoo
from npu_cases import NEURALART, ROOT, Source, reported

from n6convert.npu import estimate

__all__ = ["NETS", "Measured", "load", "measured_rows"]

NETS = Path(os.environ.get("N6_BENCH_NETS", ROOT / ".bench" / "nets"))
"""Networks made from published definitions, once (``nets.originals``)."""


@dataclass(frozen=True)
class Measured:
    """One published time: where it comes from, the model (a file or a builder), target, milliseconds."""

    name: str
    family: str
    source: Source
    target: str
    controller: bool
    milliseconds: float
    internal_kib: float | None = None
    flash_kib: float | None = None
    external: bool = False
    """Activations left the chip, as published."""
    newer: bool = False
    """Came with the second round of evidence."""
    channels_last: bool = False
    """A TFLite file was measured: a graph built in its place must not pay for a copy of its channel-first input."""
    tflite: bool = False
    """A TFLite file was measured, whatever stands in for it."""


_OLDER_ROWS, _OLDER_REPORTS = 69, 17
"""What the first round of evidence had: rows of the table, and the last report."""
_SIBLINGS = {"r10": "MobileNetV2", "r11": "YOLOv8n"}
_FAMILIES = {
    "mobilenetv1": "MobileNetV1", "mobilenet_": "MobileNetV1", "mobilenetv2": "MobileNetV2", "yolov8n": "YOLOv8n",
    "st movenet": "MoveNet", "movenet": "MoveNet", "efficientnetv2": "efficientnetv2", "fastdepth": "FastDepth",
    "yamnet": "YAMNet", "st_yolo": "YOLOX", "squeezenet": "squeezenet", "resnet18": "resnet18", "resnet50": "ResNet50",
    "proxylessnas": "proxylessnas", "peleenet": "peleenet", "shufflenetv2": "shufflenetv2", "sqnxt": "squeezenet",
    "dla": "DLA", "yolov2t": "yolov2t", "st_resnet": "ST ResNet", "st_efficientnet": "EfficientNet LC",
}  # fmt: skip
_TOOLS = {
    "X-CUBE-AI 10.2": "nucleo-n657x0-q", "AI Studio": "nucleo-n657x0-q-aistudio", "Developer Cloud": "stm32n6570-dk",
}  # fmt: skip
_LAYERS = {
    "dwconv 3x3 x3": "depthwise_3x3", "conv 3x3 16f": "conv2d_16f_3x3", "conv 3x3 16f + maxpool": "conv2d_pool",
    "conv 1x1 32f": "conv2d_1x1", "conv 3x3 32f": "conv2d_3x3", "conv 5x5 32f": "conv2d_32f_5x5",
    "conv 3x3 64f": "conv2d_64f_3x3", "conv 7x7 32f": "conv2d_32f_7x7",
}  # fmt: skip


def measured_rows() -> tuple[list[Measured], list[str]]:
    """All published times whose model is there or can be built, and the names of those that cannot."""
    rows, skipped = list(_from_reports()), []
    with (NEURALART / "latency.csv").open(encoding="utf-8") as handle:
        for number, row in enumerate(csv.DictReader(handle)):
            if not row["inference_ms"]:
                continue
            found = _from_csv(row, number >= _OLDER_ROWS)
            if found is None:
                skipped.append(f"{row['model']} {row['resolution']} {row['format']} {row['core']}")
            else:
                rows.append(found)
    return rows, skipped


def _from_reports() -> Iterator[Measured]:
    """Board times of whole networks; the single layers and the network without log (r17) are in latency.csv as well."""
    for entry in reported():
        board = entry.truth["board"]
        known = board and board["ec"] is not None and board["clocks_mhz"]["cpu"]
        if known and not entry.id.startswith("r13"):
            report = entry.id.split("_")[0]
            yield Measured(
                entry.id, _SIBLINGS.get(report, report), entry.model, entry.target, entry.controller, board["ms"],
                newer=int(report[1:]) > _OLDER_REPORTS,
            )  # fmt: skip


def _from_csv(row: dict[str, str], newer: bool) -> Measured | None:
    """The model zoo does not say how it compiled: taken is the epoch controller, which the Developer Cloud's profile
    has ([#command-line]); without it MobileNetV1 and squeezenet 1.1 on 2.0 would be 7 to 18 % too slow, with it -5 to
    +2 %."""
    version = ".".join(row["core"].split(".")[:2])
    milliseconds = float(row["inference_ms"])
    if row["model"].startswith("single layer: "):
        layer = row["model"].removeprefix("single layer: ")
        model = NEURALART / "reports/r13_magnus_single_layers" / _LAYERS[layer] / "model.tflite"
        name = f"{layer} {version} {row['tool']}"
        return Measured(name, "single layers", model, f"{_TOOLS[row['tool']]}@{version}", False, milliseconds)
    source = _builder(row)
    if source is None:
        return None
    if row["format"].startswith("w4"):
        source = partial(_four_bits, source, f"stm32n6570-dk@{version}", float(row["weights_flash_kib"]))
    name = f"{row['model']} {row['resolution'].split('x')[0]} {row['dataset']} {version}"
    memory = [float(row[key]) for key in ("internal_ram_kib", "weights_flash_kib")]
    outside = float(row["external_ram_kib"] or 0) > 0
    board = f"stm32n6570-dk@{version}"
    tflite = row["source"] == "tflite"
    last = tflite and not isinstance(source, Path)
    return Measured(
        name, _family(row["model"]), source, board, True, milliseconds, *memory, outside, newer, last, tflite
    )


def _family(model: str) -> str:
    """Networks that share their blocks are one family, whatever their width and size."""
    return next((family for start, family in _FAMILIES.items() if model.lower().startswith(start)), model)


def _builder(row: dict[str, str]) -> Source | None:
    """A builder for a standard architecture; None for architectures that are not published or not installed."""
    size, classes = int(row["resolution"].split("x")[0]), {"food101": 101, "imagenet": 1000}.get(row["dataset"], 10)
    name, _, width = row["model"].partition(" ")
    builders: dict[str, Callable[[], onnx.ModelProto]] = {
        "MobileNetV1": lambda: nets.mobilenet_v1(float(width), size, classes),
        "MobileNetV2": lambda: nets.mobilenet_v2(float(width), size, classes),
        "mobilenetv2_a050_pt": lambda: nets.mobilenet_v2(0.5, size, classes, pad="torch"),
        "mobilenet_a050_pt": lambda: nets.mobilenet_v1(0.5, size, classes, pad="torch"),
        "FastDepth": lambda: nets.fast_depth(size),
        "YAMNet-256": lambda: nets.yamnet(256, classes),
        "YAMNet-1024": lambda: nets.yamnet(1024, classes),
        "YOLOv8n": lambda: nets.yolov8n(size, 1),
        "yolov2t": lambda: detectors.tiny_yolo_v2(size),
    }
    if name.startswith("st_resnet"):
        return partial(zoo.st_resnet, name.removeprefix("st_resnet").partition("_")[0], size, classes)
    if name == "st_efficientnetlcv1":
        return partial(zoo.efficientnet_lc, size, classes)
    if name in ("st_yolo_x_nano", "st_yoloxn"):
        return _yolox(width, size, "linear" if name == "st_yoloxn" else "nearest")
    if "MoveNet Lightning heatmaps (1" in row["model"]:
        found = sorted(NEURALART.glob("reports/r17_*/*.tflite"))
        return found[0] if found else None
    return builders.get(name) or _original(row, size)


def _yolox(name: str, size: int, resize: str) -> Source | None:
    """``0.33_0.25``, ``1.0_0.25_3`` (three anchors; a published file) or ``d033_w025``."""
    if name == "1.0_0.25_3":
        found = sorted(NEURALART.glob("reports/r05_*/*.tflite"))
        return found[0] if found else None
    depth, width = {"0.33_0.25": (0.33, 0.25), "0.5_0.4": (0.5, 0.4), "d033_w025": (0.33, 0.25)}.get(name, (0, 0))
    return partial(detectors.st_yolox, depth, width, size, resize=resize) if depth else None


def _original(row: dict[str, str], size: int) -> Source | None:
    """A network that a package defines, exported and quantized once into NETS."""
    name = row["model"].lower().removesuffix("_pt").removesuffix(f"_{size}").replace(" ", "")
    stem = {"squeezenetv10": "squeezenetv1.0", "sqnxt23_x150": "sqnxt23_x150"}.get(name, name)
    keys = (f"{stem}_{size}_food" if row["dataset"] == "food101" else "", f"{stem}_{size}", stem)
    key = next((key for key in keys if key in originals.ORIGINALS), None)
    if key is None:
        return None
    path = NETS / f"{key}.onnx"
    return path if path.is_file() or originals.available(originals.ORIGINALS[key]) else None


def _four_bits(source: Source, target: str, flash_kib: float) -> onnx.ModelProto:
    """The largest layers in 4 bits, as many as the published flash says (ST ranks by number of weights,
    [#four-bit-weights])."""
    found = load(source)
    model = onnx.load(found) if isinstance(found, Path) else found
    left = 2 * (estimate(model, target).costs.memory.weights - 1024 * flash_kib)
    read = {name for node in model.graph.node if node.op_type == "DequantizeLinear" for name in node.input[:1]}
    weights = [t for t in model.graph.initializer if t.name in read and t.data_type == onnx.TensorProto.INT8]
    for tensor in sorted(weights, key=lambda tensor: -math.prod(tensor.dims)):
        size = math.prod(tensor.dims)
        if len(tensor.dims) > 1 and size <= left:
            left -= size
            packed, kind = bytes(-(-size // 2)), onnx.TensorProto.INT4
            tensor.CopyFrom(onnx.TensorProto(name=tensor.name, data_type=kind, dims=tensor.dims, raw_data=packed))
    return model


def load(source: Source) -> Path | onnx.ModelProto:
    """The file or the model of a case; originals are made when they are not there yet."""
    if not isinstance(source, Path):
        return source()
    return originals.write(source.stem, NETS) if source.parent == NETS else source
