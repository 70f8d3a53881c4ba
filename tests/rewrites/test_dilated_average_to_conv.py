"""AveragePool with dilations, against onnx's own evaluator."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.rewrites import RewriteConfig, rewrite
from n6convert.runtime.session import run_model

from .helpers import ops, stays


def pooled(options: str, size: tuple[int, ...] = (9, 10)) -> onnx.ModelProto:
    dims = ",".join(map(str, (1, 3, *size)))
    text = (
        f'<ir_version: 9, opset_import: ["": 19]> g (float[{dims}] x) => (float y) {{ y = AveragePool<{options}>(x) }}'
    )
    proto = onnx.parser.parse_model(text)
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    return onnx.shape_inference.infer_shapes(proto)


@settings(max_examples=20, deadline=None)
@given(
    st.tuples(*[st.integers(2, 3)] * 2), st.tuples(st.integers(1, 2), st.integers(2, 3)),
    st.tuples(*[st.integers(1, 2)] * 2), st.tuples(*[st.integers(0, 1)] * 4), st.booleans(),
)  # fmt: skip
def test_it_is_a_convolution_with_equal_weights(
    kernel: tuple[int, ...], dilations: tuple[int, ...], strides: tuple[int, ...], pads: tuple[int, ...], counted: bool
) -> None:
    options = f"kernel_shape={[*kernel]}, dilations={[*dilations]}, strides={[*strides]}, pads={[*pads]}"
    proto = pooled(f"{options}, count_include_pad={int(counted)}")
    x = np.random.default_rng(0).standard_normal((1, 3, 9, 10)).astype(np.float32)
    result = rewrite(ir.from_proto(proto), lambda: [{"x": x}], RewriteConfig(), threads=1)
    assert "AveragePool" not in ops(result.model)
    (wanted,) = ReferenceEvaluator(proto).run(None, {"x": x})
    np.testing.assert_allclose(run_model(result.model, {"x": x})["y"], wanted, atol=1e-6)


@pytest.mark.parametrize("options", ["kernel_shape=[3,3], dilations=[2,2]", "kernel_shape=[3,3], dilations=[1,1]"])
def test_it_is_quantized(options: str) -> None:
    rng = np.random.default_rng(0)
    samples = [{"x": rng.standard_normal((1, 3, 9, 10)).astype(np.float32)} for _ in range(4)]
    made = rewrite(ir.from_proto(pooled(options)), lambda: samples, RewriteConfig(), threads=1).model
    result = quantize(made, lambda: iter(samples), QuantizationConfig(effort="fast"))
    assert Evaluator(made, samples).score(result.model) > 35


def test_a_pool_without_dilations_stays() -> None:
    assert not stays(ir.from_proto(pooled("kernel_shape=[3,3], dilations=[1,1]")), "dilated-average-to-conv")
