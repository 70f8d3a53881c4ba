"""Every operator of the table in torch gives the codes of the written INT8 file, and gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from n6convert.errors import GraphError  # noqa: E402
from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize  # noqa: E402
from n6convert.tuning.agreement import agreement  # noqa: E402
from n6convert.tuning.fake_quantization import round_to_codes  # noqa: E402
from n6convert.tuning.operators import OPERATORS, Node  # noqa: E402
from n6convert.tuning.parameters import Parameters  # noqa: E402
from n6convert.tuning.program import Program  # noqa: E402

from .nets import feeds, parse, weights_of  # noqa: E402

PLAIN = QuantizationConfig(
    ranges="minmax", equalization=False, bias_correction="off", rounding="nearest", merge_convolutions=False, threads=1
)
IMAGE = "float[1,4,8,8]"
#: operator -> lines between `x` (an image of four channels) and `t`, and constants they read
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "Abs": ("t = Abs(x)", {}),
    "Add": ("t = Add(x, c)", {"c": [0.3, -0.2, 0.5, 0.1]}),
    "AveragePool": ("t = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,0,0]>(x)", {}),
    "AveragePool, counted": ("t = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", {}),
    "AveragePool, even": ("t = AveragePool<kernel_shape=[2,2], strides=[2,2]>(x)", {}),
    "Clip": ("low = Constant<value_float=-0.5>()\n t = Clip(x, low)", {}),
    "Concat": ("s = Sigmoid(x)\n t = Concat<axis=1>(x, s)", {}),
    "Conv, uneven padding": ("t = Conv<pads=[0,1,1,0], strides=[2,1]>(x, w)", {"w": (4, 4, 2, 2)}),
    "Conv, dilated groups": ("t = Conv<pads=[2,2,2,2], dilations=[2,2], group=2>(x, w)", {"w": (4, 2, 3, 3)}),
    "Conv, kernels of one value in groups": ("t = Conv<strides=[2,1], group=2>(x, w)", {"w": (6, 2, 1, 1)}),
    "ConvTranspose": (
        "t = ConvTranspose<strides=[2,2], pads=[1,0,1,0], output_padding=[1,1]>(x, w)", {"w": (4, 3, 3, 3)}
    ),
    "ConvTranspose, groups": ("t = ConvTranspose<strides=[2,2], group=2>(x, w)", {"w": (4, 2, 2, 2)}),
    "Cos": ("t = Cos(x)", {}),
    "DepthToSpace": ("t = DepthToSpace<blocksize=2>(x)", {}),
    "DepthToSpace, CRD": ('t = DepthToSpace<blocksize=2, mode="CRD">(x)', {}),
    "Div": ("a = Abs(x)\n b = Add(a, c)\n t = Div(x, b)", {"c": [0.7]}),
    "Elu": ("t = Elu(x)", {}),
    "Erf": ("t = Erf(x)", {}),
    "Exp": ("t = Exp(x)", {}),
    "Gather": ("t = Gather<axis=1>(x, i)", {"i": np.array([2, 0, -1])}),
    "GlobalAveragePool": ("t = GlobalAveragePool(x)", {}),
    "GlobalMaxPool": ("t = GlobalMaxPool(x)", {}),
    "HardSigmoid": ("t = HardSigmoid<alpha=0.1666>(x)", {}),
    "HardSwish": ("t = HardSwish(x)", {}),
    "LeakyRelu": ("t = LeakyRelu<alpha=0.1>(x)", {}),
    "Log": ("a = Abs(x)\n b = Add(a, c)\n t = Log(b)", {"c": [0.7]}),
    "MatMul": ("u = Transpose<perm=[0,1,3,2]>(x)\n t = MatMul(x, u)", {}),
    "MatMul, constant": ("t = MatMul(x, w)", {"w": (8, 5)}),
    "MatMul, constant first": ("t = MatMul(w, x)", {"w": (5, 8)}),
    "Max": ("t = Max(x, c)", {"c": [0.3]}),
    "MaxPool": ("t = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", {}),
    "Min": ("t = Min(x, c)", {"c": [0.3]}),
    "Mul": ("s = Sigmoid(x)\n t = Mul(x, s)", {}),
    "Neg": ("t = Neg(x)", {}),
    "PRelu": ("t = PRelu(x, c)", {"c": [0.1, 0.2, -0.1, 0.3]}),
    "Pad": ("p = Constant<value_ints=[0,0,1,0,0,0,2,1]>()\n t = Pad(x, p)", {}),
    "Pad, reflect": ('p = Constant<value_ints=[0,0,1,0,0,0,2,1]>()\n t = Pad<mode="reflect">(x, p)', {}),
    "Pow": ("t = Pow(x, c)", {"c": [2.0]}),
    "Reciprocal": ("a = Abs(x)\n b = Add(a, c)\n t = Reciprocal(b)", {"c": [0.7]}),
    "ReduceMax": ("t = ReduceMax<axes=[2]>(x)", {}),
    "ReduceMean": ("t = ReduceMean<axes=[2,3]>(x)", {}),
    "ReduceMean, rank": ("t = ReduceMean<axes=[-1], keepdims=0>(x)", {}),
    "ReduceMin": ("t = ReduceMin<axes=[1]>(x)", {}),
    "ReduceSum": ("a = Constant<value_ints=[2,3]>()\n t = ReduceSum(x, a)", {}),
    "Relu": ("s = Add(x, x)\n t = Relu(s)\n", {}),
    "Reshape": ("s = Constant<value_ints=[1,16,4,4]>()\n t = Reshape(x, s)", {}),
    "Resize": (
        "k = Constant<value_floats=[1.0,1.0,2.0,2.0]>()\n"
        't = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x, , k)', {}
    ),
    "Resize, linear": (
        "k = Constant<value_floats=[1.0,1.0,2.0,2.0]>()\n"
        't = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(x, , k)', {}
    ),
    "Sigmoid": ("t = Sigmoid(x)", {}),
    "Slice": (
        "a = Constant<value_ints=[1,0]>()\n b = Constant<value_ints=[3,100]>()\n"
        "d = Constant<value_ints=[1,3]>()\n e = Constant<value_ints=[1,2]>()\n t = Slice(x, a, b, d, e)", {}
    ),
    "Softmax": ("t = Softmax<axis=-1>(x)", {}),
    "Softplus": ("t = Softplus(x)", {}),
    "SpaceToDepth": ("t = SpaceToDepth<blocksize=2>(x)", {}),
    "Split": ("s = Constant<value_ints=[1,3]>()\n r, t = Split<axis=1>(x, s)", {}),
    "Sqrt": ("a = Abs(x)\n b = Add(a, c)\n t = Sqrt(b)", {"c": [0.7]}),
    "Squeeze": ("a = Constant<value_ints=[0]>()\n t = Squeeze(x, a)", {}),
    "Sub": ("t = Sub(x, c)", {"c": [0.3]}),
    "Tanh": ("t = Tanh(x)", {}),
    "Transpose": ("t = Transpose<perm=[0,2,3,1]>(x)", {}),
    "Unsqueeze": ("a = Constant<value_ints=[0]>()\n t = Unsqueeze(x, a)", {}),
}  # fmt: skip


def quantized(kind: str) -> QuantizationResult:
    """A convolution, the operator, and a product behind it, as INT8."""
    lines, constants = LINES[kind]
    given = {n: np.asarray(v) for n, v in constants.items() if not isinstance(v, tuple)}
    arrays = {n: a.reshape(1, -1, 1, 1).astype(np.float32) if a.dtype.kind == "f" else a for n, a in given.items()}
    arrays |= weights_of({n: v for n, v in constants.items() if isinstance(v, tuple)})
    body = f"""
    net ({IMAGE} image) => (float[] y) {{
      x = Conv<pads=[1,1,1,1]>(image, stem, bias)
      {lines}
      y = Mul(t, half)
    }}"""
    stem = weights_of({"stem": (4, 4, 3, 3), "bias": (4,)})
    model = parse(body, 14 if kind == "HardSwish" else 13, half=np.array([0.5], np.float32), **stem, **arrays)
    return quantize(model, feeds((1, 4, 8, 8), name="image"), PLAIN)


@pytest.mark.parametrize("kind", LINES)
def test_codes_are_those_of_the_file(kind: str) -> None:
    result = quantized(kind)
    assert result.prepared is not None
    program, parameters = Program(result.model), Parameters(result.model, result.prepared)
    state = parameters.state()
    found = agreement(program, state, result.model, list(feeds((1, 4, 8, 8), 3, 7, "image")()))
    assert found.codes > 500 and found.differing == 0, found
    samples = list(feeds((1, 4, 8, 8), 3, 9, "image")())
    together = program.run(samples, state, keep=program.tensors)
    assert set(together.kept) == set(program.tensors)
    grads = [_gradient(parameters, together.outputs["y"])]
    for index, sample in enumerate(samples):
        alone = program.run([sample], parameters.state(), keep=program.tensors)
        for name, steps in alone.kept.items():
            assert torch.equal(steps.integers[0], together.kept[name].integers[index]), name
        grads.append(_gradient(parameters, alone.outputs["y"]))
    assert torch.isfinite(grads[0]).all() and grads[0].abs().max() > 0
    torch.testing.assert_close(grads[0], sum(grads[1:]), rtol=1e-3, atol=float(1e-4 * grads[0].abs().max()))


def _gradient(parameters: Parameters, output: torch.Tensor) -> torch.Tensor:
    """What the stem's weights are told to make the output smaller."""
    leaf = parameters.leaves["weight/stem_quantized"]
    leaf.grad = None
    output.square().sum().backward()
    return leaf.grad


@pytest.mark.parametrize("op", ["Sqrt", "Log", "Reciprocal", "Pow", "Div"])
def test_gradients_are_finite_where_a_function_is_steep(op: str) -> None:
    x = (torch.ones(3) if op == "Div" else torch.zeros(3)).requires_grad_()
    node = Node(op, "", ("x",), ("y",), {}, None)
    second = {"Pow": [torch.tensor(-0.5)], "Div": [torch.zeros(3)]}.get(op, [])
    scale = torch.tensor(0.1, requires_grad=True)
    made = OPERATORS[op](node, [x, *second])
    round_to_codes(made, scale, -128.0, 127.0).values.nan_to_num(0.0).sum().backward()
    assert x.grad is not None and torch.isfinite(x.grad).all() and torch.isfinite(scale.grad)


def test_an_operator_without_a_form_is_named() -> None:
    model = ir.from_proto(ir.to_proto(quantized("Abs").model))
    next(n for n in model.graph if n.op_type == "Abs").op_type = "Hardmax"
    with pytest.raises(GraphError) as caught:
        Program(model)
    assert "Hardmax" in str(caught.value) and "without tuning" in str(caught.value.remedy)


def test_cubic_interpolation_is_refused_by_name() -> None:
    model = ir.from_proto(ir.to_proto(quantized("Resize, linear").model))
    next(n for n in model.graph if n.op_type == "Resize").attributes["mode"] = ir.AttrString("mode", "cubic")
    with pytest.raises(GraphError, match="no form"):
        Program(model)


def test_the_table_is_covered() -> None:
    tested = {kind.partition(",")[0] for kind in LINES} | {"Conv", "Gemm"}
    rare = {
        "BatchNormalization", "Celu", "Expand", "Flatten", "Gelu", "Identity", "InstanceNormalization",
        "LayerNormalization", "LogSoftmax", "Mish", "Sin", "Softsign", "Sum", "ThresholdedRelu", "Tile", "Where",
    }  # fmt: skip
    assert set(OPERATORS) - tested <= rare
