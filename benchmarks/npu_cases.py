"""The measurements and compiler reports that the predictor is held against."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx
from nets import architectures as nets

from n6convert.npu.ends import AS_MODELED, Ends
from n6convert.npu.synthetic import attention_encoder

__all__ = ["NEURALART", "Measured", "Reported", "measured_rows", "reported"]

ROOT = Path(__file__).resolve().parent.parent
NEURALART = Path(os.environ.get("N6_NEURALART", ROOT.parent / "shared" / "neuralart"))

Source = Path | Callable[[], onnx.ModelProto]


@dataclass(frozen=True)
class Reported:
    """A compiler report in normal form, with its model and the options that matter."""

    truth: dict[str, Any]
    model: Source
    target: str
    controller: bool
    pools: Path | None
    allocate_io: bool
    ends: Ends = AS_MODELED

    @property
    def id(self) -> str:
        return str(self.truth["id"])


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


def _textgen() -> onnx.ModelProto:
    """The six-layer transformer of r15, rebuilt from its layer table (the file is not published)."""
    return attention_encoder(6, 30, 128, 4, 1024, 20000)


_STAND_INS: dict[str, str | Callable[[], onnx.ModelProto]] = {
    "r09b_2.1.0": "r09_peleab_history/mobilefacenet__PerChannel_quant.onnx",
    "r09c_2.1.0": "r07_mobilefacenet_int8_qdq/mobilefacenet_int8_faces.onnx",
    "r15_2.1.0": _textgen,
    "r15_2.2.0": _textgen,
}
"""For reports without their model: a file with the same layers, or a rebuilt graph."""


def reported() -> Iterator[Reported]:
    """Every shared report, with its model or a stand-in."""
    for path in sorted((NEURALART / "expected").glob("r*.json")):
        truth = json.loads(path.read_text())
        model = truth["model_file"] or _STAND_INS.get(truth["id"])
        if model is None:
            continue
        source = NEURALART / "reports" / model if isinstance(model, str) else model
        pools = _pools(source, truth) if isinstance(source, Path) else []
        yield Reported(
            truth,
            source,
            _target(truth),
            (truth["epochs"]["ec"] or 0) > 0,
            pools[0] if pools else None,
            allocate_io="_user_io_input_0" not in truth.get("pool_attributes", {}),
            ends=_ENDS.get(truth["id"], AS_MODELED),
        )


_ENDS = {
    "r05_3.0.0": Ends(output_type="int8"),
    "r27_2.2.0b": Ends(input_type="uint8", output_type="int8", input_channels="chlast"),
    "r39_2.2.0": Ends(input_type="float32"),
}
"""Options of the reports' command lines that change the ends of the network (r05: named in SPEC p.2)."""


def _pools(source: Path, truth: dict[str, Any]) -> list[Path]:
    """The pool file of a report: that of its version where a folder holds several."""
    version = re.sub(r"^r\d+[a-z]?_(?:opt_)?", "", truth["id"])
    found = sorted(source.parent.glob("*.mpool"))
    return [path for path in found if path.name.startswith(f"v{version}_")] or [
        path for path in found if "app2" in path.name and not re.match(r"v\d", path.name)
    ]


def _target(truth: dict[str, Any]) -> str:
    version = ".".join(truth["core_version"].split(".")[:2])
    clocks = (truth.get("board") or {}).get("clocks_mhz") or {}
    nucleo = clocks.get("npu") == 800 or "aistudio" in truth["id"]
    return f"{'nucleo-n657x0-q-aistudio' if nucleo else 'stm32n6570-dk'}@{version}"


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
        for row in csv.DictReader(handle):
            if not row["inference_ms"]:
                continue
            found = _from_csv(row)
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
            family = entry.id.split("_")[0]
            yield Measured(entry.id, family, entry.model, entry.target, entry.controller, board["ms"])


def _from_csv(row: dict[str, str]) -> Measured | None:
    """The model zoo does not say how it compiled: taken is the stock profile without the epoch controller for 2.x, and
    the Developer Cloud's profile, which has it, from 3.0 on (SPEC i)."""
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
    name = f"{row['model']} {row['resolution'].split('x')[0]} {row['dataset']} {version}"
    memory = [float(row[key]) for key in ("internal_ram_kib", "weights_flash_kib")]
    family = row["model"].split()[0].split("_")[0]
    return Measured(name, family, source, f"stm32n6570-dk@{version}", version >= "3", milliseconds, *memory)


def _builder(row: dict[str, str]) -> Source | None:
    """A builder for a standard architecture; None for 4-bit weights and for architectures that are not published."""
    if row["format"] != "int8":
        return None
    size, classes = int(row["resolution"].split("x")[0]), {"food101": 101, "imagenet": 1000}.get(row["dataset"], 10)
    name, _, width = row["model"].partition(" ")
    builders: dict[str, Callable[[], onnx.ModelProto]] = {
        "MobileNetV1": lambda: nets.mobilenet_v1(float(width), size, classes),
        "MobileNetV2": lambda: nets.mobilenet_v2(float(width), size, classes),
        "mobilenetv2_a050_pt": lambda: nets.mobilenet_v2(0.5, size, classes, pad="torch"),
        "mobilenet_a050_pt": lambda: nets.mobilenet_v1(0.5, size, classes, pad="torch"),
        "efficientnetv2b0": lambda: nets.efficientnet_v2_b0(size, classes),
        "FastDepth": lambda: nets.fast_depth(size),
        "YAMNet-256": lambda: nets.yamnet(256, classes),
        "YAMNet-1024": lambda: nets.yamnet(1024, classes),
        "YOLOv8n": lambda: nets.yolov8n(size, 1),
    }
    if row["model"] == "ST MoveNet Lightning heatmaps (13kpt)":
        found = sorted(NEURALART.glob("reports/r17_*/*.tflite"))
        return found[0] if found else None
    return builders.get(name)
