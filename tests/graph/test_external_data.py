"""Models whose weights lie beside them, as exporters write them: every command carries the weights along."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from n6convert.cli import run
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

SAMPLES = np.random.default_rng(1).random((8, 3, 8, 8)).astype(np.float32)
QUICK = ["--set", "options.samples=arrays", "--set", "simplify.onnxsim=false", "--calibration", "samples.npz"]


def write(path: Path, seed: int = 0, opset: int = 17) -> onnx.ModelProto:
    """Two convolutions with their weights in NAME.onnx.data; returns the model with the weights inside."""
    rng = np.random.default_rng(seed)
    arrays = {"w": rng.normal(0, 0.3, (4, 3, 3, 3)), "v": rng.normal(0, 0.3, (2, 4, 1, 1))}
    weights = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in arrays.items()]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Conv", ["r", "v"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, c, 8, 8]) for n, c in (("x", 3), ("y", 2)))
    graph = helper.make_graph(nodes, "net", [x], [y], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f"{path.name}.data").unlink(missing_ok=True)
    whole = onnx.ModelProto.FromString(model.SerializeToString())
    onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=0)
    return whole


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("N6CONVERT_CACHE", str(tmp_path / "cache"))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    np.savez("samples.npz", x=SAMPLES)


def close(found: Path, model: onnx.ModelProto) -> float:
    """SQNR of a file against the model it was made from, in dB."""
    onnx.save(model, "reference.onnx")
    sample = {"x": SAMPLES[:1]}
    exact, other = run_model(Path("reference.onnx"), sample), run_model(found, sample)
    return sqnr_db(exact["y"], other["y"])


def test_quantize_from_another_folder_and_again_after_the_original_moved(tmp_path: Path) -> None:
    model = write(tmp_path / "elsewhere" / "net.onnx")
    assert run(["quantize", "../elsewhere/net.onnx", *QUICK, "-o", "first.onnx"]) == 0
    assert close(Path("first.onnx"), model) > 30
    shutil.move(tmp_path / "elsewhere", tmp_path / "moved")
    deep = Path("deep")
    deep.mkdir()
    os.chdir(deep)
    shutil.copy("../samples.npz", ".")
    assert run(["quantize", str(tmp_path / "moved" / "net.onnx"), *QUICK, "-o", "second.onnx"]) == 0
    assert Path("second.onnx").read_bytes() == Path("../first.onnx").read_bytes()


def test_convert_and_again_from_the_cache_after_the_weights_changed() -> None:
    first = write(Path("net.onnx"))
    arguments = ["net.onnx", *QUICK, "--quiet", "--output", "out"]
    assert run(arguments) == 0
    assert close(Path("out/net_int8.onnx"), first) > 30
    graph = Path("net.onnx").read_bytes()
    other = write(Path("net.onnx"), seed=1)
    assert Path("net.onnx").read_bytes() == graph, "only the weights changed"
    assert run(arguments) == 0
    assert close(Path("out/net_int8.onnx"), other) > 30


def test_rewrite_into_another_folder_takes_the_weights_along(tmp_path: Path) -> None:
    model = write(tmp_path / "elsewhere" / "net.onnx")
    assert run(["rewrite", "../elsewhere/net.onnx", "-o", "new/net.onnx"]) == 0
    shutil.rmtree(tmp_path / "elsewhere")
    assert close(Path("new/net.onnx"), model) > 100


@pytest.mark.parametrize("opset", [11, 17])
def test_weights_above_the_limit_stay_in_their_file_until_they_are_needed(
    opset: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from n6convert.graph import io

    model = write(tmp_path / "elsewhere" / "net.onnx", opset=opset)
    monkeypatch.setattr(io, "BESIDE_FROM", 256)
    loaded = io.load("../elsewhere/net.onnx")
    assert isinstance(loaded.graph.initializers["w"].const_value, ir.ExternalTensor)
    assert run(["rewrite", "../elsewhere/net.onnx", "-o", "new/net.onnx"]) == 0
    assert run(["quantize", "../elsewhere/net.onnx", *QUICK, "-o", "new/int8.onnx", "--quiet"]) == 0
    samples = ["--calibration", "samples.npz", "--set", "options.samples=arrays"]
    assert run(["../elsewhere/net.onnx", *samples, "--quiet", "--output", "out"]) == 0
    assert Path("new/net.onnx.data").is_file()
    shutil.rmtree(tmp_path / "elsewhere")
    assert close(Path("new/net.onnx"), model) > 100 and close(Path("new/int8.onnx"), model) > 30
