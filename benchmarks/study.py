"""Writes docs/study.md: a published study of networks on the STM32N6 beside what this project computes.

    python benchmarks/study.py [--check]

The study's own figures are quoted (:data:`STUDY`); every other one is made here: by the predictor on the very files
that were compiled, by conversions of the same architectures with real weights, by sweeps and by ``fit``. ``--check``
makes the quick ones, those of the predictor, and fails where the page says something else. Needs the material in
``N6_DATA``.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from model_pages import PAGES, epochs, report_of, time_of
from norm_spellings import exported, spelled_out, tensorflow

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "study.md"
PICTURES = ROOT / "docs" / "pictures"
_STYLE = "text{font:14px sans-serif;fill:#555}.hw{fill:#12808f}.hybrid{fill:#d9a300}.sw{fill:#c8442b}"
DATA = Path(os.environ.get("N6_DATA", ROOT.parent / "shared" / "data"))
COMPILER = "stm32n6570-dk@2.1"
NOW = "stm32n6570-dk@4.0"
MOVENET = "weights/st_movenet_lightning_heatmaps_192_int8_pc.tflite"
POSE = "weights/yolov8n_256_quant_pc_uf_pose_coco-st.tflite"
#: what the study prints (Politecnico di Milano; measured builds on the discovery kit)
STUDY = {
    "MoveNet": ("75: 71 on the NPU, 4 on the CPU, 94.7 %", "22 ms"),
    "YOLOv8n-pose": ("87.9 % on the NPU, 18 on the CPU", "32 ms"),
    "transformer": ("270: 96 on the CPU, 64.4 % on the NPU", "above 100 ms"),
}
HEAD = """# The study, reproduced

A study of the Politecnico di Milano compiled three networks for the STM32N6 and concluded that whether an operator runs
on the NPU decides everything, and that transformers are out of reach of real time. It is where this project started.
`python benchmarks/study.py` sets its figures beside ours and writes this page. *Predicted* comes from the model file
alone, without ST's compiler; *measured* accuracy is INT8 on samples that calibration did not see. Nothing here ran on a
board of ours.
"""


def main() -> int:
    """Write the page, or compare its quick part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the predictor's figures moved")
    asked = parser.parse_args()
    if not DATA.is_dir():
        print(f"the material is not at {DATA}; set N6_DATA: nothing made, nothing checked")
        return 0
    if not asked.check:
        PAGE.write_text("\n".join([HEAD, *builds(), *claims(), *directions()]).rstrip() + "\n", encoding="utf-8")
        return 0
    text = PAGE.read_text(encoding="utf-8")
    moved = [line for line in builds() if line not in text]
    print("\n".join(moved) or "every figure holds")
    return int(bool(moved))


@cache
def predicted(file: str, target: str = COMPILER) -> dict[str, Any]:
    """What the predictor says of a compiled file."""
    from n6convert import estimate

    return estimate(DATA / file, target).facts()


@cache
def generator(target: str = COMPILER) -> dict[str, Any]:
    """A transformer of the study's size in TensorFlow's spelling, as a quantizer would hand it on."""
    from n6convert.npu import estimate

    model = spelled_out(exported("tinybert-generator"), tensorflow)
    return estimate(model, target, assume_quantized=True).facts()


@cache
def converted(recipe: str, target: str = NOW) -> Any:
    """The report of a conversion with real weights where there are some."""
    return report_of(next(p for p in PAGES if p.recipe == recipe), target, DATA)


def builds() -> Iterator[str]:
    """The compiled networks: what was printed by the compiler, and what we say without it."""
    sides = {"MoveNet": predicted(MOVENET), "YOLOv8n-pose": predicted(POSE), "transformer": generator()}
    yield "## What was compiled\n\n| | the study | predicted, same compiler version |\n|---|---|---|"
    for name, facts in sides.items():
        yield f"| {name}, epochs | {STUDY[name][0]} | {epochs(facts['placement'])} |"
        yield f"| {name}, time | {STUDY[name][1]} | {time_of(facts['latency'])} |"
    used = {pool["name"]: pool["used"] for pool in predicted(MOVENET)["memory"]["pools"]}
    for pool, theirs in {"cpuRAM2": "864 KiB", "npuRAM5": "432 KiB", "npuRAM4": "378 KiB"}.items():
        yield f"| MoveNet, {pool} | {theirs} | {used[pool] / 1024:,.0f} KiB |"
    yield f"| MoveNet, flash | 2.924 MB | {used['octoFlash'] / (1 << 20):.3f} MiB |"
    yield (
        "\nMoveNet and YOLOv8n-pose are ST's own files. The study's transformer is not published; ours has its size\n"
        "(4 layers of 256, 100 tokens) and the spelling of LayerNorm that its exporter writes. Its MoveNet time is of\n"
        "another version of the tool: ST's own for this file is 18.4 ms."
    )
    yield picture("study-compiled", "As compiled, on one time scale", [(n, f["placement"]) for n, f in sides.items()])
    worst = sorted(predicted(POSE)["placement"]["operators"], key=lambda o: -o["microseconds"])
    slow = [o for o in worst if o["where"] == "sw"][:3]
    yield "\nWhat keeps YOLOv8n-pose on the CPU, by predicted time:\n"
    yield from (f"* {o['op']}, {o['microseconds'] / 1000:.1f} ms: {o['reason']}" for o in slow)


def picture(name: str, title: str, sides: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """Ribbons one below the other, one block an epoch as wide as its predicted time, as a file beside the page."""
    from n6convert.report.epochs import epoch_blocks
    from n6convert.report.svg import ribbon
    from n6convert.results.sections import Side

    drawn = [(label, epoch_blocks(Side.model_validate(side))) for label, side in sides]
    whole = max(sum(block.width for block in blocks) for _, blocks in drawn)
    parts = []
    for i, (label, blocks) in enumerate(drawn):
        time = sum(block.width for block in blocks) / 1000
        inner = ribbon(blocks, label, whole=whole).replace("<svg ", f'<svg x="0" y="{i * 80 + 24}" height="44" ', 1)
        parts.append(f'<text x="0" y="{i * 80 + 16}">{label}: {time:.1f} ms predicted</text>{inner}')
    height = 80 * len(drawn)
    PICTURES.mkdir(exist_ok=True)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 960 {height}"><style>{_STYLE}</style>'
    (PICTURES / f"{name}.svg").write_text(f"{head}{''.join(parts)}</svg>\n", encoding="utf-8")
    return f"\n![{title}](pictures/{name}.svg)\n\n{title}: teal is the NPU, yellow both, red the CPU.\n"


def claims() -> Iterator[str]:
    """What the study concludes, and what becomes of it with rewrites."""
    movenet, pose, bert = (converted(name) for name in ("movenet", "yolov8n-pose", "tinybert-64"))
    small = converted("tinybert-generator")
    yield "\n## What it concludes\n\n| claim | with rewrites (core 4.0) | verdict |\n|---|---|---|"
    yield _claim("CNNs run in real time", [("MoveNet", movenet), ("YOLOv8n-pose", pose)], "confirmed")
    yield _claim(
        "the CPU epochs of YOLO come from its head", [("YOLOv8n-pose", pose)],
        "confirmed: with the head cut off and decoded in C none is left; it holds no NMS",
    )  # fmt: skip
    yield _claim(
        "transformers cannot run in real time", [("BERT-tiny", bert), ("the generator", small)],
        "refuted, as predicted: LayerNorm, Softmax and attention in forms that the NPU has",
    )  # fmt: skip
    shown = {"BERT-tiny": bert, "generator": small}
    both = [(f"{n}, {w}", getattr(r.placement, w)) for n, r in shown.items() for w in ("before", "after")]
    memory = max(r.memory["activations"] for r in (movenet, pose, bert, small)) / 1024
    yield f"| compute is the limit, not memory | the largest needs {memory:,.0f} KiB of activations | confirmed |"
    yield picture("study-transformers", "Transformers before and after rewrites, on one time scale", both)
    yield "\nAccuracy of these conversions:\n"
    from model_pages import accuracy

    for name, report in (("MoveNet", movenet), ("YOLOv8n-pose", pose), ("BERT-tiny", bert)):
        yield f"* {name}: {accuracy(report)}"


def _claim(text: str, reports: list[tuple[str, Any]], verdict: str) -> str:
    cells = (f"{n}: {epochs(r.placement.after)}, {time_of(r.latency)}, {_rate(r.latency)}" for n, r in reports)
    return f"| {text} | {'; '.join(cells)} | {verdict} |"


def _rate(latency: Any) -> str:
    return f"{1000 / latency['milliseconds']:.0f} a second"


def directions() -> Iterator[str]:
    """The study's four future directions."""
    yield "\n## Its four future directions\n"
    yield from _training()
    yield from _resolution()
    yield from _cascade()
    yield "\n### Hybrid vision transformers\n\n| | epochs before | epochs as converted | time (predicted) |"
    yield "|---|---|---|---|"
    for name in ("mobilevit", "efficientvit"):
        report = converted(name)
        before, after = epochs(report.placement.before), epochs(report.placement.after)
        yield f"| {name} | {before} | {after} | {time_of(report.latency)} |"


def _training() -> Iterator[str]:
    lost = converted("tinybert-64").accuracy
    yield (
        "### Quantization-aware training for TinyBERT\n\nWithout any training INT8 loses "
        f"{lost.drop:.2f} points ({lost.interval[0]:.2f} to {lost.interval[1]:.2f}) of BERT-tiny's "
        f"{lost.float_value:.1f} % on {lost.samples} sentences."
    )


def _resolution() -> Iterator[str]:
    from n6convert import sweep

    yield "\n### Resolution, accuracy and time\n"
    yield "MoveNet Lightning and YOLOv8n-pose at several sizes, calibrated on one set and judged on persons of COCO:\n"
    yield "| network | size | float | INT8 | samples | time (predicted) |\n|---|---|---|---|---|---|"
    for recipe, page in (("movenet-sizes", "movenet"), ("yolov8n-pose-sizes", "yolov8n-pose")):
        material = next(p for p in PAGES if p.recipe == page)
        given = {
            "weights": str(DATA / material.weights),
            "calibration": {"source": str(DATA / str(material.calibration)), "samples": 64},
            "evaluation": str(DATA / str(material.evaluation)),
        }
        with TemporaryDirectory() as folder:
            for point in sweep(recipe, {}, Path(folder), common=given):
                yield _point(page, point, Path(folder))


def _point(page: str, point: Any, folder: Path) -> str:
    import json

    size = re.search(r"imgsz=(\d+)", point.label)
    if point.error:
        return f"| {page} | {point.label} | failed: {point.error} | | | |"
    report = json.loads((folder / point.folder / "report.json").read_text("utf-8"))
    found = report["accuracy"]
    spread = found["interval"]
    interval = f" (lost {spread[0]:.2f} to {spread[1]:.2f})" if spread else ""
    cells = (f"{found['float']:.1f}", f"{found['int8']:.1f}{interval}", found["samples"], time_of(report["latency"]))
    return f"| {page} | {size[1] if size else point.label} | " + " | ".join(map(str, cells)) + " |"


def _cascade() -> Iterator[str]:
    from n6convert import convert, fit

    yield "\n### A cascade: YOLOv8n finds people, a TinyBERT reads\n"
    with TemporaryDirectory() as folder:
        runs = []
        for recipe, name in (("yolov8n-256", "detector"), ("tinybert-64", "reader")):
            convert(recipe, weights="seeded", target=NOW, output=Path(folder) / name)
            runs.append(Path(folder) / name)
        together = fit(runs).together
    best, low, high = together.milliseconds
    yield (
        f"Both on one board: {together.shared / 1024:,.0f} KiB of {together.on_chip / 1024:,.0f} KiB on-chip RAM, "
        f"{together.flash_used / 1024:,.0f} KiB of flash, {best:.1f} ms a frame ({low:.1f} to {high:.1f}), predicted."
    )


if __name__ == "__main__":
    raise SystemExit(main())
