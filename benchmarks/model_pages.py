"""The columns of ``docs/models/figures.md``: ready models for two compiler versions, with and without rewrites.

Uses the real weights and samples of a folder where a family has some there, otherwise seeded weights, and says so.
:mod:`figures` writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HEAD = """# Figures

Written by `make figures`: one conversion a column. Placement, time and memory are predicted;
accuracy is measured on samples that calibration did not see."""
TARGETS = ("stm32n6570-dk@2.1", "stm32n6570-dk@4.0")


@dataclass(frozen=True)
class Page:
    """One model: its recipe, and what of the local material it is converted with; ``options`` belong to the weights."""

    recipe: str
    title: str
    weights: str = "seeded"
    calibration: str | None = None
    evaluation: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


PAGES = (
    Page(
        "yolov8n-256", "YOLOv8n, 256x256", "weights/yolov8n.pt", "images/imagenet500", "images/coco_det_instances.json"
    ),
    Page(
        "yolov8n-pose",
        "YOLOv8n-pose, 256x256",
        "weights/yolov8n_pose_256_float.onnx",
        "images/coco_det",
        "images/coco_kpt_person_keypoints.json",
    ),  # fmt: skip
    Page(
        "yolo26n-pose",
        "YOLO26n-pose, 256x256",
        "weights/yolo26_pose_256_qdq_int8.onnx",
        "images/lspet",
        "images/coco_kpt_person_keypoints.json",
        {"options": {"dequantize": True}},
    ),  # fmt: skip
    Page("yolo11n-256", "YOLO11n, 256x256"),
    Page("yolo26n-256", "YOLO26n, 256x256"),
    Page(
        "movenet",
        "MoveNet Lightning heat maps, 192x192",
        "weights/movenet_lightning_heatmaps_192_float.onnx",
        "images/lspet",
        "images/coco_kpt_person_keypoints.json",
    ),  # fmt: skip
    Page(
        "tinybert-64",
        "BERT-tiny (SST-2), sequence 64",
        "weights/bert_tiny_sst2",
        "text/glue_sst2_train.tsv",
        "text/glue_sst2_dev.tsv",
    ),  # fmt: skip
    Page("tinybert-generator", "BERT-like generator, sequence 100"),
    Page("mobilevit", "MobileViT-XXS, 256x256"),
    Page("efficientvit", "EfficientViT-B0, 224x224"),
)


def report_of(page: Page, target: str, data: Path) -> Any:
    """Convert once and give the report."""
    from n6convert import convert

    real = (data / page.weights).exists()
    given: dict[str, Any] = {"weights": data / page.weights if real else "seeded"} | (page.options if real else {})
    if real and page.calibration:
        given["calibration"] = {"source": str(data / page.calibration), "samples": 64}
    if real and page.evaluation:
        given["evaluation"] = data / page.evaluation
    with TemporaryDirectory() as folder:
        return convert(page.recipe, target=target, output=Path(folder) / "out", **given).report


def lines(page: Page, reports: Sequence[Any]) -> Iterator[str]:
    """The page as markdown."""
    first = reports[0]
    untrained = "" if first.weights.trained else " The weights are untrained: answers mean nothing here."
    yield f"## {page.title}\n\n`n6convert {page.recipe}`, weights {first.weights.origin}.{untrained}\n"
    yield "| | " + " | ".join(report.target for report in reports) + " |"
    yield "|---|" + "---|" * len(reports)
    for name, cell in ROWS:
        yield f"| {name} | " + " | ".join(cell(report) for report in reports) + " |"
    yield "\nWhat stays off the NPU, and why:\n"
    yield from left_over(reports)
    yield "\nRewrites:\n"
    for report in reports:
        applied = ", ".join(f"{a['rule']} ({a['times']})" for a in report.rewrites.get("applied", [])) or "none"
        yield f"* {report.target}: {applied}"


def epochs(side: Mapping[str, Any] | None) -> str:
    """``total: hw, hybrid, sw``."""
    if side is None:
        return "not estimated"
    e = side["epochs"]
    return f"{e['total']}: {e['hw']} hw, {e['hybrid']} hybrid, {e['sw']} sw ({100 * side['offload']:.1f} %)"


def accuracy(report: Any) -> str:
    """The task's metric where there were labels, otherwise the least SQNR."""
    found = report.accuracy
    if found is not None:
        spread = f", 95 %: {found.interval[0]:.2f} to {found.interval[1]:.2f}" if found.interval else ""
        return (
            f"{found.metric} {found.float_value:.2f} float, {found.int8:.2f} INT8: {found.drop:.2f} points "
            f"({found.samples} samples{spread})"
        )
    values = [value for value in report.sqnr_db.values() if value is not None]
    return f"least output SQNR {min(values):.1f} dB" if values else "equal to float"


def time_of(latency: Mapping[str, Any] | None) -> str:
    """Milliseconds with their interval."""
    if latency is None:
        return "not estimated"
    return f"{latency['milliseconds']:.1f} ms ({latency['low']:.1f} to {latency['high']:.1f})"


ROWS = (
    ("epochs before rewrites", lambda r: epochs(r.placement.before)),
    ("epochs as converted", lambda r: epochs(r.placement.after)),
    ("time before rewrites", lambda r: time_of((r.placement.before or {}).get("latency"))),
    ("time as converted", lambda r: time_of(r.latency)),
    ("activations", lambda r: f"{r.memory['activations'] / 1024:,.0f} KiB"),
    ("weights", lambda r: f"{r.memory['weights'] / 1024:,.0f} KiB"),
    ("accuracy (measured)", accuracy),
)


def left_over(reports: Sequence[Any]) -> Iterator[str]:
    """Every operator kind that is hybrid or software, with the rule's sentence."""
    found = False
    for report in reports:
        seen: dict[tuple[str, str], str] = {}
        for operator in report.placement.after["operators"]:
            if operator["where"] in ("sw", "hybrid"):
                seen.setdefault((operator["op"], operator["where"]), operator["reason"])
        for (op, where), reason in seen.items():
            found = True
            yield f"* {report.target}: {op} ({where}): {reason}"
    if not found:
        yield "* nothing"
