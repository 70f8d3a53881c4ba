"""Networks of one quantized operator, with codes and weights of choice: what an INT8 executor has to get right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
from numpy.typing import NDArray
from onnx import numpy_helper

from n6convert.runtime.int8.reference import operator_result

__all__ = ["CODES", "OPERATORS", "Operator", "network"]

Array = NDArray[np.generic]
#: scale and zero point of the inputs
INPUTS = (("x", 0.02, -3), ("z", 0.013, 5))
OUTPUT_ZERO_POINT = 7
MAP, ROWS = (1, 48, 9, 9), (4, 256)
#: how codes are chosen
CODES = ("random", "ends", "lowest", "highest")


@dataclass(frozen=True)
class Operator:
    """One operator between its pairs.

    Attributes:
        text: what makes ``y`` of the dequantized inputs ``x`` and ``z``, weight ``w`` and bias ``b``.
        shapes: of the inputs.
        weight: shape and channel axis.
        channels: of the bias.
        moves: its output holds values of its input, on the same grid.
        beside: further initializers.
    """

    text: str
    shapes: Sequence[tuple[int, ...]]
    weight: tuple[tuple[int, ...], int] | None = None
    channels: int = 0
    moves: bool = False
    beside: Mapping[str, Array] = field(default_factory=dict)


def _conv(weight: tuple[int, ...], attributes: str, shape: tuple[int, ...] = MAP) -> Operator:
    return Operator(f"y = Conv<{attributes}>(x, w, b)", [shape], (weight, 0), weight[0])


_TWICE = {"sizes": np.array([1, 48, 18, 18])}
OPERATORS = {
    "Conv 3x3": _conv((24, 48, 3, 3), "pads = [1, 1, 1, 1]"),
    "Conv 3x3, no bias": Operator("y = Conv<pads = [1, 1, 1, 1]>(x, w)", [MAP], ((24, 48, 3, 3), 0)),
    "Conv 3x3, stride 2": _conv((16, 3, 3, 3), "pads = [1, 1, 1, 1], strides = [2, 2]", (1, 3, 16, 16)),
    "Conv 3x3, dilated": _conv((24, 48, 3, 3), "pads = [2, 2, 2, 2], dilations = [2, 2]"),
    "Conv 3x3, 4 groups": _conv((24, 12, 3, 3), "pads = [1, 1, 1, 1], group = 4"),
    "Conv 5x5, depthwise": _conv((48, 1, 5, 5), "pads = [2, 2, 2, 2], group = 48"),
    "Conv 1x1, 9000 channels": _conv((4, 9000, 1, 1), "kernel_shape = [1, 1]", (1, 9000, 1, 2)),
    "ConvTranspose": Operator("y = ConvTranspose<strides = [2, 2]>(x, w, b)", [MAP], ((48, 8, 2, 2), 1), 8),
    "ConvTranspose, 4 groups": Operator(
        "y = ConvTranspose<strides = [2, 2], group = 4>(x, w)", [MAP], ((48, 4, 2, 2), 1)
    ),
    "Gemm": Operator("y = Gemm(x, w, b)", [ROWS], ((256, 32), 1), 32),
    "Gemm, transposed": Operator("y = Gemm<transB = 1>(x, w, b)", [ROWS], ((32, 256), 0), 32),
    "MatMul": Operator("y = MatMul(x, w)", [(1, 12, 256)], ((256, 32), 1)),
    "MatMul, a stack": Operator("y = MatMul(x, w)", [(5, 4, 64)], ((5, 64, 12), 2)),
    "MatMul, a deep stack": Operator("y = MatMul(x, w)", [(1, 3, 4, 64)], ((2, 3, 64, 12), 3)),
    "MatMul of two": Operator("y = MatMul(x, z)", [(2, 3, 12, 64), (2, 3, 64, 12)]),
    "Add": Operator("y = Add(x, z)", [MAP, MAP]),
    "Add, a channel": Operator("y = Add(x, z)", [MAP, (1, 48, 1, 1)]),
    "Sub": Operator("y = Sub(x, z)", [MAP, MAP]),
    "Mul": Operator("y = Mul(x, z)", [MAP, MAP]),
    "AveragePool": Operator("y = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", [MAP]),
    "GlobalAveragePool": Operator("y = GlobalAveragePool(x)", [(1, 8, 100, 100)]),
    "MaxPool": Operator("y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", [MAP], moves=True),
    "ReduceMean": Operator("y = ReduceMean<axes = [2, 3]>(x)", [MAP]),
    "Sigmoid": Operator("y = Sigmoid(x)", [MAP]),
    "Tanh": Operator("y = Tanh(x)", [MAP]),
    "HardSigmoid": Operator("y = HardSigmoid<alpha = 0.1666667, beta = 0.5>(x)", [MAP]),
    "LeakyRelu": Operator("y = LeakyRelu<alpha = 0.1>(x)", [MAP]),
    "Erf": Operator("y = Erf(x)", [MAP]),
    "Exp": Operator("y = Exp(x)", [MAP]),
    "Relu": Operator("y = Relu(x)", [MAP], moves=True),
    "Softmax": Operator("y = Softmax(x)", [(64, 5)]),
    "Concat": Operator("y = Concat<axis = 1>(x, z)", [MAP, MAP]),
    "Reshape": Operator("y = Reshape(x, shape)", [MAP], moves=True, beside={"shape": np.array([1, -1])}),
    "Transpose": Operator("y = Transpose<perm = [0, 2, 3, 1]>(x)", [MAP], moves=True),
    "Resize, linear": Operator('y = Resize<mode = "linear">(x, , , sizes)', [MAP], moves=True, beside=_TWICE),
}


def network(name: str, codes: str, weights: str, seed: int = 0) -> tuple[ir.Model, dict[str, NDArray[np.float32]]]:
    """The operator's QDQ graph, and inputs that fall on the codes asked for.

    The output's grid spans what the operator gives for these inputs, so that codes of every size appear.
    """
    operator, random = OPERATORS[name], np.random.default_rng(seed)
    constants = dict(operator.beside)
    feeds, given = {}, {}
    for (key, scale, zero), shape in zip(INPUTS, operator.shapes, strict=False):
        given[f"{key}_q"] = _codes(shape, codes, random)
        feeds[key] = (given[f"{key}_q"] - zero).astype(np.float32) * np.float32(scale)
        constants |= {f"{key}_scale": np.float32(scale), f"{key}_zero": np.int8(zero)}
    if operator.weight is not None:
        shape, axis = operator.weight
        steps = (0.005 + 0.0001 * np.arange(shape[axis])).astype(np.float32)
        constants |= {"w_codes": _codes(shape, weights, random).astype(np.int8), "w_scale": steps}
        constants["w_zero"] = np.zeros(shape[axis], np.int8)
    if operator.channels:
        constants["b_codes"] = random.integers(-20000, 20000, operator.channels).astype(np.int32)
        constants |= {"b_scale": np.float32(INPUTS[0][1]) * steps, "b_zero": np.zeros(operator.channels, np.int32)}
    constants |= {"y_scale": np.float32(INPUTS[0][1]), "y_zero": np.int8(INPUTS[0][2])}
    model = ir.from_proto(_proto(operator, constants))
    if not operator.moves:
        _set_grid(model, given)
    return model, feeds


def _codes(shape: Sequence[int], kind: str, random: np.random.Generator) -> Array:
    made: Array = {
        "random": lambda: random.integers(-128, 128, shape),
        "ends": lambda: random.choice([-128, 127], shape),
        "lowest": lambda: np.full(shape, -128),
        "highest": lambda: np.full(shape, 127),
    }[kind]()
    return made


def _proto(operator: Operator, constants: Mapping[str, Array]) -> onnx.ModelProto:
    given = [key for (key, *_), _ in zip(INPUTS, operator.shapes, strict=False)]
    lines = [f"{k}_q = QuantizeLinear({k}, {k}_scale, {k}_zero)" for k in given]
    lines += [f"{k}_d = DequantizeLinear({k}_q, {k}_scale, {k}_zero)" for k in given]
    axes = {"w": operator.weight[1] if operator.weight else 0, "b": 0}
    held = [k for k in axes if f"{k}_codes" in constants]
    lines += [f"{k}_d = DequantizeLinear<axis = {axes[k]}>({k}_codes, {k}_scale, {k}_zero)" for k in held]
    head, _, operands = operator.text.rpartition("(")
    names = [f"{n}_d" if n in (*given, *held) else n for n in (o.strip() for o in operands.rstrip(")").split(","))]
    lines += [f"{head}({', '.join(names)})", "y_q = QuantizeLinear(y, y_scale, y_zero)"]
    lines += ["out = DequantizeLinear(y_q, y_scale, y_zero)"]
    inputs = ", ".join(f"float{list(s)} {k}" for k, s in zip(given, operator.shapes, strict=True))
    text = f'<ir_version: 8, opset_import: ["" : 13]> net ({inputs}) => (float out) {{ {" ".join(lines)} }}'
    model = onnx.parser.parse_model(text)
    model.graph.initializer.extend(numpy_helper.from_array(np.asarray(a), n) for n, a in constants.items())
    return onnx.shape_inference.infer_shapes(model)


def _set_grid(model: ir.Model, codes: Mapping[str, Array]) -> None:
    """Give the output the scale at which its largest value fills the codes."""
    node = next(n for n in model.graph if n.outputs[0].name == "y")
    scale = np.float32(max(np.abs(operator_result(node, codes)).max(), 1e-6) / 110)
    for name, array in (("y_scale", scale), ("y_zero", np.int8(OUTPUT_ZERO_POINT))):
        model.graph.initializers[name].const_value = ir.tensor(array, name=name)
