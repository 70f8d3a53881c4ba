"""Files in QOperator form, as the same numbers in QDQ form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import onnxruntime.quantization as ort_quantization
import pytest

from n6convert import convert
from n6convert.errors import SourceError
from n6convert.requantization import as_qdq, quantized_style
from n6convert.runtime.session import run_model

from .test_requantization import by_onnxruntime, calibration, samples

FORM = ort_quantization.QuantFormat.QOperator
SIGNED, UNSIGNED = ort_quantization.QuantType.QInt8, ort_quantization.QuantType.QUInt8
KINDS = {
    "uint8": {"activation_type": UNSIGNED, "weight_type": UNSIGNED},
    "int8 weights by channel": {"activation_type": UNSIGNED, "weight_type": SIGNED, "per_channel": True},
    "int8": {"activation_type": SIGNED, "weight_type": SIGNED},
}
HEADER = '<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[1,4,6,6] x) => (float[1,n,h,w] y)'
GRIDS = """<float s = {0.02}, uint8 z = {120}, float t = {0.015}, uint8 u = {100}>"""
#: behind ``q``, the input's codes on the grid s, z; ``c`` has codes on the grid t, u
OPERATORS = {
    "QLinearAdd": "c = com.microsoft.QLinearAdd(q, s, z, q, s, z, t, u)",
    "QLinearMul": "c = com.microsoft.QLinearMul(q, s, z, q, s, z, t, u)",
    "QLinearSigmoid": "c = com.microsoft.QLinearSigmoid(q, s, z, t, u)",
    "QLinearLeakyRelu": "c = com.microsoft.QLinearLeakyRelu<alpha = 0.2>(q, s, z, t, u)",
    "QLinearSoftmax": "c = com.microsoft.QLinearSoftmax<axis = 1, opset = 13>(q, s, z, t, u)",
    "QLinearGlobalAveragePool": "c = com.microsoft.QLinearGlobalAveragePool<channels_last = 0>(q, s, z, t, u)",
    "QLinearAveragePool": "c = com.microsoft.QLinearAveragePool<kernel_shape = [2, 2]>(q, s, z, t, u)",
    "QLinearConcat": "c = com.microsoft.QLinearConcat<axis = 1>(t, u, q, s, z, q, s, z)",
    "codes that are moved": "m = MaxPool<kernel_shape = [2, 2]>(q) c = com.microsoft.QLinearSigmoid(m, s, z, t, u)",
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_an_operator_says_the_same(operator: str) -> None:
    body = f"{{ q = QuantizeLinear(x, s, z) {OPERATORS[operator]} y = DequantizeLinear(c, t, u) }}"
    model = ir.from_proto(onnx.parser.parse_model(f"{HEADER} {GRIDS} {body}"))
    sample = {"x": np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)}
    wanted = run_model(model, sample)["y"]
    as_qdq(model, "file")
    assert quantized_style(model) == "qdq"
    steps = (run_model(model, sample)["y"] - wanted) / 0.015
    assert np.abs(steps).max() < 1.01 and np.mean(np.abs(steps) > 0.5) < 0.25


@pytest.mark.parametrize("kind", KINDS)
def test_what_onnxruntime_made(kind: str, tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, quant_format=FORM, **KINDS[kind])
    model = ir.load(path)
    assert quantized_style(model) == "qoperator"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = [session.run(["y"], sample)[0] for sample in samples(3, seed=1)]
    as_qdq(model, "file")
    assert quantized_style(model) == "qdq"
    found = [run_model(model, sample)["y"] for sample in samples(3, seed=1)]
    assert np.abs(np.stack(found) - np.stack(wanted)).max() <= 0.02 * np.ptp(np.stack(wanted))


def test_it_is_requantized_whole(tmp_path: Path) -> None:
    path = by_onnxruntime(tmp_path, quant_format=FORM, **KINDS["int8 weights by channel"])
    settings = {"options.dequantize": True, "options.samples": "arrays", "quantization.effort": "fast"}
    result = convert(path, calibration=calibration(tmp_path / "c"), output=tmp_path / "out", settings=settings)
    assert result.report.placement.after.epochs.sw == 0
    given = result.report.quantization.given_grids
    assert given["kept"] >= given["given"] - 1 > 4, given["changed"]


def test_an_operator_without_a_float_one_is_refused_by_name(tmp_path: Path) -> None:
    body = "{ q = QuantizeLinear(x, s, z) c = com.microsoft.QLinearWhere(q, s, z, t, u) y = DequantizeLinear(c, t, u) }"
    model = ir.from_proto(onnx.parser.parse_model(f"{HEADER} {GRIDS} {body}"))
    with pytest.raises(SourceError, match="QLinearWhere"):
        as_qdq(model, "file")
