"""Whole conversions of the toy plugin: cache, resume, equality, wrong plugins, wrong output folders."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

import n6convert
from n6convert.errors import AcceptanceError, GraphError, OutputError, PluginError, RecipeError, SourceError
from n6convert.pipeline.manifest import COMPUTED_WITH, compared
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.results import ConversionResult, Report
from n6convert.results.manifest import ComputedWith, Manifest, ManifestPlugin, ManifestWeights

#: onnxsim runs in a child process, which most of these tests need not wait for
FAST = {"simplify.onnxsim": False}


def run(weights: str | Path = "seeded", **options: Any) -> ConversionResult:
    return n6convert.convert("toy", weights=weights, **({"settings": FAST} | options))


def start(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    fast = ["--set", "simplify.onnxsim=false"]
    command = [sys.executable, "-m", "n6convert", "toy", "--weights", "seeded", *fast, *arguments]
    return subprocess.Popen(
        command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def entries(stage: str) -> list[Path]:
    return list(Path(os.environ["N6CONVERT_CACHE"], "stages", stage).glob("*"))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_result_is_complete_and_runs(toy: Path) -> None:
    result = run(settings={})
    assert result.folder == Path("build/toy-untrained")
    assert result.model_path.name == "toy-untrained_int8.onnx"
    session = ort.InferenceSession(result.model_path, providers=["CPUExecutionProvider"])
    assert session.run(None, {"x": np.zeros((1, 3, 8, 8), np.float32)})[0].shape == (1, 2, 8, 8)
    assert Report.model_validate_json((result.folder / "report.json").read_text()) == result.report
    assert json.loads((result.folder / "manifest.json").read_text()) == result.manifest
    assert any("untrained" in w for w in result.warnings) and any("synthetic" in w for w in result.warnings)
    assert result.report.sqnr_db["y"] is not None and result.report.sqnr_db["y"] > 20


def test_second_run_takes_everything_from_the_cache_and_changes_no_artifact(toy: Path) -> None:
    first = run()
    before = bytes_of(first.folder)
    second = run()
    assert not any(stage.cached for stage in first.report.stages)
    assert all(stage.cached for stage in second.report.stages)
    after = bytes_of(second.folder)
    assert {k for k in before if before[k] != after[k]} <= {"report.json", "report.html"}
    assert set(before) == set(after)


def test_cached_run_does_not_load_the_plugin(toy: Path) -> None:
    run()
    code = (
        "import sys, n6convert; r = n6convert.convert('toy', weights='seeded', settings={'simplify.onnxsim': False});"
        "assert all(s.cached for s in r.report.stages);"
        "print(sorted({'n6_toy', 'torch', 'tensorflow', 'onnxruntime', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_cached_run_with_pretrained_weights_does_not_ask_the_plugin(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = toy / "published.bin"
    weights.write_bytes(b"123")
    monkeypatch.setenv("N6_TOY_PRETRAINED", str(weights))
    first = run("pretrained")
    assert first.manifest["weights"]["origin"] == "https://example.org/toy" and first.folder.name == "toy"
    sys.modules.pop("n6_toy")
    assert all(stage.cached for stage in run("pretrained").report.stages) and "n6_toy" not in sys.modules
    weights.write_bytes(b"12")
    changed = run("pretrained")
    assert changed.manifest["weights"]["sha256"] != first.manifest["weights"]["sha256"]
    assert not any(stage.cached for stage in changed.report.stages[:3])


def test_a_run_says_on_whose_word_it_took_the_weights(
    toy: Path, local_hub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    local_hub.publish("owner/toy", {"model.bin": b"123"})
    monkeypatch.setenv("N6_TOY_HUB", "1")
    first = run("pretrained", output="first")
    digest = hashlib.sha256(b"123").hexdigest()
    assert first.manifest["weights"]["files"] == {"model.bin": digest} and first.manifest["weights"]["sha256"] == digest
    assert "first use: recorded" in first.report.weights.trust and "trusted by  " in first.summary()
    monkeypatch.setenv("N6CONVERT_OFFLINE", "1")
    second = run("pretrained", output="second")
    assert second.report.weights.trust == second.manifest["weights"]["trust"] == first.manifest["weights"]["trust"]
    assert compared(second.manifest) == compared(first.manifest)
    trusted = run("pretrained", output="third", trust=f"sha256:{digest}")
    assert trusted.report.weights.trust == "the sha256 that --trust names"
    with pytest.raises(SourceError, match="not those that were trusted"):
        run("pretrained", output="fourth", trust=f"sha256:{'0' * 64}")


def test_same_inputs_give_the_same_bytes_without_any_cache(toy: Path) -> None:
    first, second = run(output="a", cache=False), run(output="b", cache=False)
    assert not any(stage.cached for stage in second.report.stages)
    assert first.model_path.read_bytes() == second.model_path.read_bytes()
    assert (first.folder / "manifest.json").read_bytes() == (second.folder / "manifest.json").read_bytes()


def test_what_computed_is_told_and_changes_nothing(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_THREADS", "1")
    first = run(output="a", cache=False).manifest
    monkeypatch.setenv("N6CONVERT_THREADS", "2")
    monkeypatch.setenv("N6CONVERT_KERNELS", "plain")
    second = run(output="b", cache=False).manifest
    assert compared(first) == compared(second)
    told = [manifest[COMPUTED_WITH] for manifest in (first, second)]
    assert [t.pop("threads") for t in told] == [1, 2]
    assert told[0] == told[1]
    assert {len(text) for text in told[0]["code"].values()} == {64} and set(told[0]["code"]) == {"n6convert", "n6_toy"}
    assert told[0]["architecture"] and isinstance(told[0]["cpu_features"], list)


def test_manifest_accounts_for_what_decided_the_result(toy: Path) -> None:
    weights = toy / "numbers.bin"
    weights.write_bytes(b"12")
    manifest = run(weights).manifest
    assert manifest["weights"]["sha256"] == "6b51d431df5d7f141cbececcf79edf3dd861c3b4069f0b11661a3eefacbba918"
    assert manifest["plugin"]["distribution"] == "n6-toy" and manifest["plugin"]["version"] == "1.0"
    assert {"n6convert", "numpy", "onnx", "onnxruntime", "n6-toy"} <= set(manifest["packages"])
    samples = manifest["samples"]
    assert len(samples["calibration"]) == 15 and all(len(s["sha256"]) == 64 for s in samples["calibration"])
    assert [f["path"] for f in manifest["files"]] == sorted(f["path"] for f in manifest["files"])
    assert str(toy) not in json.dumps(manifest)
    kinds = {"weights": ManifestWeights, "plugin": ManifestPlugin, COMPUTED_WITH: ComputedWith}
    for facts, kind in ((manifest, Manifest), *((manifest[key], kind) for key, kind in kinds.items())):
        assert set(facts) == set(kind.__annotations__)


def test_untrained_weights_are_not_refined_unless_asked_for(toy: Path) -> None:
    plain = run().report.quantization
    assert "rounding" in plain["skipped"]
    assert {m["method"] for m in plain["methods"]} <= {"ranges: mse", "ranges: minmax"}
    asked = run(settings=FAST | {"quantization.rounding": "second-order"}).report.quantization["skipped"]
    default = QuantizationConfig()
    assert asked == sorted({key for key in default.off() if default.asks(key)} - {"rounding"})
    weights = toy / "w.bin"
    weights.write_bytes(b"1")
    assert run(weights).report.quantization["skipped"] == []


def test_held_back_samples_are_not_calibrated_on(toy: Path) -> None:
    samples = run().manifest["samples"]
    calibrated = {s["sha256"] for s in samples["calibration"]}
    held_back = {s["sha256"] for s in samples["held_back"]}
    assert not calibrated & held_back


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({"seed": 1}, set()),
        ({"options": {"channels": 5}}, set()),
        ({"settings": {}}, {"export"}),
        ({"quantization": {"ranges": "percentile"}}, {"export", "simplify", "rewrite"}),
        ({"evaluation": {"pictures": 0}}, {"export", "simplify", "rewrite", "quantize", "lint", "estimate"}),
    ],
)
def test_a_change_repeats_only_what_it_concerns(toy: Path, change: dict[str, Any], kept: set[str]) -> None:
    run()
    stages = run(**change).report.stages
    assert kept <= {s.name for s in stages if s.cached}
    first = next(s.name for s in stages if s.name not in kept)
    assert not next(s.cached for s in stages if s.name == first)


def test_changed_plugin_code_is_not_answered_from_the_cache(toy: Path, site: Path) -> None:
    run()
    with (site / "n6_toy.py").open("a") as code:
        code.write("\n# changed\n")
    assert not any(stage.cached for stage in run().report.stages)


def test_changed_weights_are_not_answered_from_the_cache(toy: Path) -> None:
    weights = toy / "w.bin"
    weights.write_bytes(b"1")
    first = run(weights)
    before = first.model_path.read_bytes()
    weights.write_bytes(b"123")
    assert run(weights).model_path.read_bytes() != before


def test_damaged_cache_entry_is_made_again(toy: Path) -> None:
    first = run()
    model = entries("quantize")[0] / "model.onnx"
    model.write_bytes(model.read_bytes()[:100])
    second = run(output="again")
    assert not next(s.cached for s in second.report.stages if s.name == "quantize")
    assert second.model_path.read_bytes() == first.model_path.read_bytes()


@pytest.mark.parametrize("when", ["simplify", "quantize", "package", "quantize: "])
def test_a_cache_deleted_in_mid_run_is_made_again(toy: Path, when: str) -> None:
    first = run(output="first")
    deleted: list[str] = []

    def progress(what: str, done: int, total: int | None) -> None:
        if not deleted and (what == when or (when.endswith(" ") and what.startswith(when))):
            deleted.append(what)
            shutil.rmtree(os.environ["N6CONVERT_CACHE"])

    second = run(output="second", cache=False, progress=progress)
    assert deleted
    assert second.model_path.read_bytes() == first.model_path.read_bytes()
    assert (second.folder / "manifest.json").read_bytes() == (first.folder / "manifest.json").read_bytes()


def test_killed_run_leaves_nothing_half_done_and_resumes(toy: Path) -> None:
    log = toy / "log"
    victim = start(N6_TOY_SLEEP="0.3", N6_TOY_LOG=str(log))
    wait_for(lambda: bool(entries("rewrite")))
    encoded = log.read_text().count("\n")
    wait_for(lambda: log.read_text().count("\n") > encoded + 1)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    assert not Path("build/toy-untrained").exists()
    assert not entries("quantize")
    cached = {s.name: s.cached for s in run().report.stages}
    assert cached["export"] and cached["simplify"] and cached["rewrite"] and not cached["quantize"]


def test_two_runs_into_one_folder_take_turns(toy: Path) -> None:
    first = start("--output", "out", N6_TOY_SLEEP="0.05")
    wait_for(lambda: bool(entries("export")))
    second = start("--output", "out", "--set", "seed=1")
    answers = [process.communicate(timeout=120) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), answers
    assert "waiting for another run" in answers[1][1]
    manifest = json.loads(Path("out/manifest.json").read_text())
    assert manifest["seed"] == 1
    content = bytes_of(Path("out"))
    assert set(content) == {f["path"] for f in manifest["files"]} | {"manifest.json", "report.json", "report.html"}


def test_conversions_run_in_threads(toy: Path) -> None:
    results: dict[int, ConversionResult] = {}

    def work(seed: int) -> None:
        results[seed] = run(seed=seed, output=f"out{seed}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({results[seed].model_path.read_bytes() for seed in range(3)}) == 3


def test_files_of_an_earlier_run_go_and_the_users_own_stay(toy: Path) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("keep me")
    run(output="out")
    weights = toy / "w.bin"
    weights.write_bytes(b"1")
    run(weights, output="out")
    assert {"mine.txt", "toy_int8.onnx"} <= set(bytes_of(Path("out")))
    assert "toy-untrained_int8.onnx" not in bytes_of(Path("out"))


def test_broken_limit_publishes_nothing_under_the_final_name(toy: Path) -> None:
    with pytest.raises(AcceptanceError) as caught:
        run(acceptance={"min_sqnr_db": 200})
    assert caught.value.exit_code == 3
    assert "min_sqnr_db 200" in str(caught.value) and "build/toy-untrained-rejected/report.json" in str(caught.value)
    assert not Path("build/toy-untrained").exists()
    report = Report.model_validate_json(Path("build/toy-untrained-rejected/report.json").read_text())
    assert report.status == "rejected" and report.acceptance[0].kept is False


def test_kept_limit_is_reported(toy: Path) -> None:
    report = run(acceptance={"min_sqnr_db": 10}).report
    limit = report.acceptance[0]
    assert limit.kept and limit.allowed == 10 and limit.found == pytest.approx(report.sqnr_db["y"])


def test_limit_that_cannot_be_measured_is_refused_before_any_work(toy: Path) -> None:
    with pytest.raises(RecipeError, match="needs labeled samples"):
        run(acceptance={"max_drop": 1})
    assert not entries("export")


def test_plugin_that_exits_is_an_error_like_any_other(toy: Path) -> None:
    with pytest.raises(PluginError, match="SystemExit: 3"):
        run(options={"fails_in": "build by exit"})


@pytest.mark.parametrize("where", ["build", "encode", "samples"])
def test_plugin_that_raises_is_named_with_its_method(toy: Path, where: str) -> None:
    with pytest.raises(PluginError) as caught:
        run(options={"fails_in": where})
    text = str(caught.value)
    assert "n6-toy 1.0" in text and where in text and "ZeroDivisionError: toy trouble" in text
    assert caught.value.stage == "export"


def test_feeds_that_do_not_fit_the_graph_are_refused(toy: Path) -> None:
    with pytest.raises(PluginError, match="encode.. does not return what the graph takes"):
        run(options={"wrong_feeds": True})


def test_nan_in_a_weight_is_found_by_name(toy: Path) -> None:
    with pytest.raises(GraphError) as caught:
        run(options={"nan_weight": True})
    assert "w2" in str(caught.value) and "1 of 8 values" in str(caught.value)


def test_nan_in_a_result_is_traced_to_its_node(toy: Path) -> None:
    with pytest.raises(GraphError) as caught:
        run(options={"nan_value": True})
    assert "middle (Sqrt)" in str(caught.value)


def test_bad_samples_are_blamed_and_not_the_stage_that_read_them_first(toy: Path) -> None:
    images = np.random.default_rng(0).random((6, 8, 8, 3)).astype(np.float32)
    images[2, 0, 0, 0] = np.nan
    np.savez("bad.npz", images)
    with pytest.raises(SourceError, match="NaN or infinity") as caught:
        n6convert.convert("seer", weights="seeded", calibration="bad.npz", settings=FAST)
    assert caught.value.stage == "calibration samples"


def test_a_misspelt_rewrite_costs_no_work(toy: Path) -> None:
    for key in ("exclude", "approximate", "rules"):
        with pytest.raises(RecipeError, match="there is no rewrite 'softmax-decompos'") as caught:
            run(settings=FAST | {f"rewrite.{key}": ["softmax-decompos"]})
        assert "softmax-decompose" in str(caught.value.remedy) and f"rewrite.{key}" in str(caught.value.place)
    assert not entries("export")


def test_what_a_plugin_notes_is_a_warning(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6_TOY_NOTE", "the head was left as it is")
    assert "the head was left as it is" in run().report.warnings


def test_batch_other_than_one_is_refused(toy: Path) -> None:
    with pytest.raises(GraphError, match="batch 1"):
        run(options={"batch": 2})


def test_calibration_never_takes_more_samples_than_asked(toy: Path) -> None:
    samples = run(calibration={"samples": 8, "held_back": 8}).manifest["samples"]
    assert len(samples["calibration"]) == 8
    few = run(calibration={"samples": 64, "held_back": 8}).manifest["samples"]
    assert len(few["calibration"]) == 15


def board(**entries: Any) -> str:
    """A board's own file, as a target."""
    lines = {"extends": "stm32n6570-dk", "description": "mine"} | entries
    Path("mine.yaml").write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return "mine.yaml@4.0"


def test_an_edited_board_is_not_answered_from_the_cache(toy: Path) -> None:
    fast, again, slow = (run(target=board(flash_mb_s=rate)).report for rate in (380, 380, 38))
    assert all(s.cached for s in again.stages)
    assert slow.latency is not None and fast.latency is not None and again.latency == fast.latency
    assert slow.latency["parts"]["flash"] > fast.latency["parts"]["flash"]


def test_an_input_larger_than_the_board_is_refused_before_it_is_run(toy: Path) -> None:
    run(target=board())
    small = "{name: npuRAM6, start: 0x34350000, size: 64, byte_width: 8, freq_ratio: 1.25, power: 19}"
    with pytest.raises(GraphError, match="larger than all RAM") as caught:
        run(target=board(pools=f"[{small}]"))
    assert caught.value.stage == "export"


def test_wrong_option_names_the_nearest(toy: Path) -> None:
    with pytest.raises(RecipeError, match="did you mean channels"):
        run(chanels=3)


def test_missing_weights(toy: Path) -> None:
    with pytest.raises(SourceError) as caught:
        run("nowhere.pt")
    assert "nowhere.pt" in str(caught.value) and "seeded" in str(caught.value)


@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "cannot be written")])
def test_refused_writes_say_what_to_do_and_lose_nothing(
    toy: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    run()
    published = bytes_of(Path("build/toy-untrained"))

    def refuse(path: Path) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as broken:
        broken.setattr("n6convert.store.cache._flush", refuse)
        with pytest.raises(OutputError, match=words):
            run(seed=1)
    assert bytes_of(Path("build/toy-untrained")) == published
    assert run(seed=1).report.status == "accepted"


def test_output_that_is_a_file(toy: Path) -> None:
    Path("out").write_text("a file")
    with pytest.raises(OutputError):
        run(output="out")
    with pytest.raises(OutputError):
        run(output="out/inside")
    assert Path("out").read_text() == "a file"
