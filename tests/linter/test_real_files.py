"""What the limits say about files whose compilation by ST is on record, and about damaged ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import typer
from typer.testing import CliRunner

from n6convert.cli.lint import register
from n6convert.errors import GraphError, RecipeError, SourceError
from n6convert.graph.io import load
from n6convert.linter import lint
from n6convert.linter.rules_scales import measured


def errors(path: Path, target: str | None = None) -> set[str]:
    return {f.rule for f in lint(load(path), target) if f.severity == "error"}


def test_files_that_st_compiled_have_no_refusal(neuralart_dir: Path, data_dir: Path) -> None:
    reports = neuralart_dir / "reports"
    assert errors(reports / "r10_mobilenet_v2_224_int8" / "mobilenet_v2_224_int8.onnx", "stm32n6570-dk@4.0") == set()
    assert errors(reports / "r09_peleab_history" / "mobilefacenet__PerChannel_quant.onnx", "stm32n6570-dk@2.2") == set()
    assert errors(data_dir / "weights" / "yolo26_pose_256_qdq_int8.onnx", "stm32n6570-dk@4.0") == set()


def test_unquantized_mean_of_r10_is_the_only_island(neuralart_dir: Path) -> None:
    model = load(neuralart_dir / "reports" / "r10_mobilenet_v2_224_int8" / "mobilenet_v2_224_int8.onnx")
    islands = [f.node or "" for f in lint(model) if f.rule == "float-island"]
    assert any("ReduceMean" in name for name in islands)
    assert all("ReduceMean" in name or "Reshape" in name for name in islands)


def test_pixels_and_probabilities_under_one_scale(neuralart_dir: Path, data_dir: Path) -> None:
    folder = neuralart_dir / "reports" / "r11_yolov8n_micro_224_int8"
    found = [f for f in lint(load(folder / "yolov8n_int8.onnx")) if f.rule == "mixed-scales"]
    assert [str(f.severity) for f in found] == ["error"]
    assert found[0].tensor == "output0_QuantizeLinear_Input"
    fine = lint(load(data_dir / "weights" / "movenet_lightning_heatmaps_192_float.onnx"))
    assert not [f for f in fine if f.rule == "mixed-scales"]


def _measured(width: int) -> int:
    """How often mixed scales are measured when channel i of ten gets a range of i / 10 * width and two get 255."""
    weights = ", ".join(str(w) for w in [1.0, 1.0, *(i / 2550 * width for i in range(1, 9))])
    body = f"""<float s = {{1.0}}, int8 z = {{-128}}, float[1,10] w = {{{weights}}}> {{
      m = Mul (x, w) q = QuantizeLinear (m, s, z) y = DequantizeLinear (q, s, z) }}"""
    text = f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,10] x) => (float[1,10] y) {body}'
    feeds = [{"x": np.full((1, 10), v, np.float32)} for v in (0, 100, 255)]
    return len(measured(ir.from_onnx_text(text), feeds))


def test_measured_values_show_what_a_scale_loses() -> None:
    assert _measured(20) == 1
    assert _measured(255) == 0
    assert (
        measured(
            ir.from_onnx_text(
                '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }'
            ),
            [{"x": np.ones((1, 4), np.float32)}],
        )
        == []
    )


def test_float_yolo_is_warned_about_before_quantization(data_dir: Path) -> None:
    counts = Counter(f.rule for f in lint(load(data_dir / "weights" / "yolov8n_640_coco80_float.onnx")))
    assert counts["mixed-scales"] == 1
    assert counts["slice-sentinels"] == 20


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>", b"version https://git-lfs.github.com/spec/v1\n"])
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises((GraphError, SourceError)):
        load(path)


def test_truncated_file_and_missing_external_data_are_refused(tmp_path: Path) -> None:
    model = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,64] x) => (float[1,64] y) { y = Relu (x) }'
    )
    weight = ir.val("w", const_value=ir.tensor(np.zeros((64, 64), np.float32), name="w"))
    model.graph.register_initializer(weight)
    ir.save(model, tmp_path / "whole.onnx", external_data="whole.data", size_threshold_bytes=1)
    (tmp_path / "whole.data").write_bytes(b"short")
    with pytest.raises(GraphError, match="external weights"):
        load(tmp_path / "whole.onnx")
    (tmp_path / "whole.data").unlink()
    with pytest.raises(GraphError, match="external weights"):
        load(tmp_path / "whole.onnx")
    ir.save(model, tmp_path / "one.onnx")
    content = (tmp_path / "one.onnx").read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: len(content) // 2])
    with pytest.raises(SourceError, match="not a readable ONNX model"):
        load(tmp_path / "cut.onnx")
    with pytest.raises(SourceError, match="does not exist"):
        load(tmp_path / "none.onnx")


def test_command_line(tmp_path: Path) -> None:
    app = typer.Typer()
    register(app)
    app.command("other")(lambda: None)
    body = '<ir_version: 10, opset_import: ["" : 17]> g (float[2,64] x) => (float[2,64] y) { y = Relu (x) }'
    onnx.save(onnx.parser.parse_model(body), tmp_path / "bad.onnx")
    onnx.save(onnx.parser.parse_model(body.replace("2,", "1,").replace("10", "8")), tmp_path / "good.onnx")
    bad = CliRunner().invoke(app, ["lint", str(tmp_path / "bad.onnx"), "--target", "stm32n6570-dk@2.1"])
    assert bad.exit_code == 1
    assert "ir-version" in bad.output and "remedy" in bad.output
    assert CliRunner().invoke(app, ["lint", str(tmp_path / "good.onnx")]).exit_code == 0
    for target in ("stm32", "stm32@4.0"):
        unknown = CliRunner().invoke(app, ["lint", str(tmp_path / "good.onnx"), "--target", target])
        assert isinstance(unknown.exception, RecipeError) and "stm32n6570-dk" in str(unknown.exception)
    listed = CliRunner().invoke(app, ["lint", str(tmp_path / "bad.onnx"), "--json", "--level", "error"])
    assert listed.exit_code == 1
    assert '"rule": "batch"' in listed.output and '"severity": "info"' not in listed.output
