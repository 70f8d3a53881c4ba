"""INT8 against float: disjoint samples, the metric and its drop, pictures, what cannot be judged."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

import n6convert
from n6convert.errors import AcceptanceError, SourceError
from n6convert.pipeline import runner
from n6convert.quantization.ranges.file import save_ranges
from n6convert.results import ConversionResult
from n6convert.runtime import aside
from n6convert.runtime.comparison import Noise


def pictures(folder: Path, count: int, seed: int = 0) -> Path:
    """Noise pictures, every second one bright, named in order."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for i in range(count):
        low, high = (160, 256) if i % 2 else (0, 96)
        Image.fromarray(rng.integers(low, high, (8, 8, 3), np.uint8)).save(folder / f"{i:03d}.png")
    return folder


def labels(folder: Path, file: Path) -> Path:
    """A COCO json that gives every bright picture a box."""
    names = sorted(p.name for p in folder.glob("*.png"))
    content = {
        "images": [{"id": i, "file_name": name, "width": 8, "height": 8} for i, name in enumerate(names)],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 8, 8], "area": 64, "iscrowd": 0}
            for i, name in enumerate(names) if int(name[:3]) % 2
        ],
        "categories": [{"id": 1, "name": "bright"}],
    }  # fmt: skip
    file.write_text(json.dumps(content))
    return file


def run(calibration: Path, evaluation: Path | None, **options: Any) -> ConversionResult:
    return n6convert.convert(
        "seer", weights="seeded", calibration=calibration, evaluation=evaluation,
        settings={"simplify.onnxsim": False, "quantization.ranges": "minmax"} | options.pop("settings", {}), **options,
    )  # fmt: skip


def test_metric_is_measured_on_other_samples(toy: Path) -> None:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    result = run(seen, labels(judged, toy / "judged.json"))
    accuracy = result.accuracy
    assert accuracy is not None
    assert (accuracy.metric, accuracy.samples, accuracy.float_value) == ("brightness", 20, 100.0)
    assert accuracy.drop == accuracy.float_value - accuracy.int8
    assert accuracy.interval is not None and accuracy.interval[0] <= accuracy.drop <= accuracy.interval[1]
    assert len(result.manifest["samples"]["evaluation"]) == 20


def test_pictures_of_both_are_published(toy: Path) -> None:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    result = run(seen, labels(judged, toy / "judged.json"), settings={"evaluation.pictures": 3})
    drawn = sorted((result.folder / "pictures").glob("*.png"))
    assert len(drawn) == 3 and Image.open(drawn[0]).size == (16, 8)


@pytest.mark.skipif(sys.platform != "linux", reason="copies are made by fork on Linux")
def test_two_threads_give_what_one_gives(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    file, found, copies = labels(judged, toy / "judged.json"), [], []
    monkeypatch.setattr(aside, "_own", True)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")  # or the second run may be of another minute
    monkeypatch.setattr(runner, "Aside", lambda work: copies.append(work) or aside.Aside(work))
    for threads in ("1", "2"):
        monkeypatch.setenv("N6CONVERT_THREADS", threads)
        result = run(seen, file, output=toy / threads, cache=False, settings={"evaluation.pictures": 2})
        report = result.report.model_dump(mode="json", exclude={"stages", "recipe"})
        found.append((report, result.manifest["files"]))
    assert len(copies) == 1 and found[0] == found[1]


def test_the_same_files_are_shared_out(toy: Path) -> None:
    folder = pictures(toy / "both", 40)
    samples = run(folder, labels(folder, toy / "both.json")).manifest["samples"]
    calibrated = {s["sha256"] for part in ("calibration", "held_back") for s in samples[part]}
    judged = {s["sha256"] for s in samples["evaluation"]}
    assert len(judged) >= 20 and len(calibrated) >= 12 and not calibrated & judged


def test_unlabeled_files_calibrate_first(toy: Path) -> None:
    folder = pictures(toy / "both", 40)
    file = labels(folder, toy / "both.json")
    pictures(toy / "more", 30, seed=2)
    for extra in (toy / "more").glob("*.png"):
        shutil.move(extra, folder / f"x{extra.name}")
    settings = {"calibration.samples": 20, "calibration.held_back": 4}
    result = run(folder, file, settings=settings)
    assert result.accuracy is not None and result.accuracy.samples == 40


def test_copies_under_other_names_are_left_out_by_content(toy: Path) -> None:
    seen = pictures(toy / "seen", 24)
    shutil.copytree(seen, toy / "copies")
    for i in range(24, 30):
        Image.new("RGB", (8, 8), (i, i, i)).save(toy / "copies" / f"{i:03d}.png")
    result = run(seen, labels(toy / "copies", toy / "copies.json"), settings={"calibration.held_back": 0})
    assert result.accuracy is not None and result.accuracy.samples == 6
    assert any("24 labeled samples were left out" in w for w in result.warnings)


def test_nothing_left_to_judge_is_refused(toy: Path) -> None:
    seen = pictures(toy / "seen", 24)
    shutil.copytree(seen, toy / "copies")
    with pytest.raises(SourceError) as caught:
        run(seen, labels(toy / "copies", toy / "copies.json"), settings={"calibration.held_back": 0})
    assert "--samples" in str(caught.value) and caught.value.stage == "evaluate"


def test_model_without_a_metric_says_so(toy: Path) -> None:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    with pytest.raises(SourceError, match="no metric") as caught:
        run(seen, labels(judged, toy / "judged.json"), options={"fails_in": "metric"})
    assert caught.value.stage == "quantize", "said before the long stages"


def test_wrong_labels_are_refused_before_the_long_stages(toy: Path) -> None:
    seen, wrong = pictures(toy / "seen", 24), toy / "wrong.json"
    wrong.write_text("{}")
    with pytest.raises(SourceError, match="COCO") as caught:
        run(seen, wrong)
    assert caught.value.stage == "evaluation samples"


def test_limit_on_the_drop_is_judged(toy: Path) -> None:
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    file = labels(judged, toy / "judged.json")
    assert run(seen, file, acceptance={"max_drop": 100}).report.acceptance[0].kept
    with pytest.raises(AcceptanceError):
        run(seen, file, acceptance={"max_drop": 0, "min_sqnr_db": 300})


def test_methods_stop_when_the_limit_on_the_drop_is_kept(toy: Path) -> None:
    """One labeled sample in two tells so, and does not judge the result."""
    seen, judged = pictures(toy / "seen", 24), pictures(toy / "judged", 20, seed=1)
    file = labels(judged, toy / "judged.json")
    settings = {"quantization.bias_correction": "sequential", "quantization.ranges": "mse"}
    kept = run(seen, file, acceptance={"max_drop": 100}, settings=settings)
    assert kept.report.quantization is not None and kept.accuracy is not None
    assert kept.report.quantization["methods_not_needed"] == ["ranges: minmax", "bias correction"]
    deciding, judging = ({s["sha256"] for s in kept.manifest["samples"][p]} for p in ("accepting", "evaluation"))
    assert (len(deciding), len(judging)) == (10, 10) and not deciding & judging
    free = run(seen, file, settings=settings)
    assert free.report.quantization is not None
    assert "ranges: minmax" not in free.report.quantization["methods_not_needed"]


@pytest.mark.parametrize(
    ("broken", "tolerated", "words"), [(1, 0.1, "could not be read"), (6, 0.1, None), (6, 0.5, "could not be read")]
)
def test_unreadable_images_are_counted_and_refused_above_a_share(
    toy: Path, broken: int, tolerated: float, words: str | None
) -> None:
    folder = pictures(toy / "seen", 30)
    for i in range(broken):
        (folder / f"{3 * i:03d}.png").write_bytes(b"no picture")
    settings = {"calibration.max_unreadable": tolerated}
    if words is None:
        with pytest.raises(SourceError, match="too many samples cannot be read"):
            run(folder, None, settings=settings)
    else:
        assert any(f"{broken} of 30 samples {words}" in w for w in run(folder, None, settings=settings).warnings)


def test_empty_calibration_folder_is_refused_with_its_path(toy: Path) -> None:
    (toy / "empty").mkdir()
    with pytest.raises(SourceError) as caught:
        run(toy / "empty", None)
    assert "empty" in str(caught.value) and caught.value.exit_code == 1


def test_changed_calibration_image_is_not_answered_from_the_cache(toy: Path) -> None:
    folder = pictures(toy / "seen", 24)
    run(folder, None)
    Image.new("RGB", (8, 8), (255, 255, 255)).save(folder / "000.png")
    cached = {s.name: s.cached for s in run(folder, None).report.stages}
    assert cached["export"] and not cached["quantize"]


def test_noise_is_summed_over_samples() -> None:
    noise = Noise()
    assert noise.sqnr_db is None
    noise.add(np.array([10.0, 0.0]), np.array([9.0, 0.0]))
    noise.add(np.array([0.0]), np.array([0.0]))
    assert noise.sqnr_db == pytest.approx(20.0)


def test_padding_is_no_noise(tmp_path: Path) -> None:
    """Rows of padding, a thousand times as large: beyond all ranges they would hide that the tokens' rows are close.

    In ranges a thousand times as wide, as somebody may give them, they would hide that the tokens' rows are all noise.
    """
    body = """<ir_version: 8, opset_import: ["" : 17]>
    net (float[1,16,8] x, float[1,16,8] added, float[1,1,16] mask) => (float[1,16,8] y) {
      k = Transpose <perm = [0, 2, 1]> (x)
      scores = MatMul(x, k)
      masked = Add(scores, mask)
      p = Softmax <axis = -1> (masked)
      z = MatMul(p, x)
      y = Add(z, added)
    }"""
    ir.save(ir.from_onnx_text(body), tmp_path / "net.onnx")
    hidden = np.arange(16) >= 10
    mask = np.where(hidden, -16, 0).astype(np.float32).reshape(1, 1, 16)
    rng = np.random.default_rng(0)
    for i in range(24):
        x, added = rng.uniform(-1, 1, (2, 1, 16, 8)).astype(np.float32)
        added *= np.where(hidden, 1000, 1)[:, None].astype(np.float32)
        np.savez(tmp_path / f"{i}.npz", x=x, added=added, mask=mask)
    plain = {"simplify.onnxsim": False, "quantization.ranges": "minmax", "quantization.rounding": "nearest"}
    settings: dict[str, Any] = {**plain, "rewrite.rules": "none"}

    def sqnr_db() -> float:
        result = n6convert.convert(tmp_path / "net.onnx", calibration=tmp_path, settings=settings)
        found = result.report.sqnr_db["y"]
        assert found is not None
        return found

    assert sqnr_db() > 30
    ranges = n6convert.quantize(tmp_path / "net.onnx", calibration=tmp_path, settings=settings).ranges
    wide = {name: (1000 * low, 1000 * high) for name, (low, high) in ranges.items() if name in ("added", "y", "z")}
    save_ranges(ranges | wide, tmp_path / "ranges.json")
    settings["quantization.ranges_file"] = str(tmp_path / "ranges.json")
    assert sqnr_db() < 10
