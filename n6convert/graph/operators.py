"""Sets of ONNX operators that behave alike: what several parts of the package ask of an operator has its name here.

A set that one question alone needs stands beside that question, made of these where it can be.
"""

from __future__ import annotations

__all__ = [
    "ARITHMETIC",
    "CONVERSIONS",
    "GLOBAL_POOLS",
    "LAYERS",
    "LOOPS",
    "MEANS",
    "MOVES",
    "PARTS",
    "PRODUCTS",
    "REDUCTIONS",
    "RESHAPES",
    "RUNTIME_QUANTIZATION",
    "SATURATING",
    "SELECTIONS",
    "SUMS_AND_PRODUCTS",
    "UNARY",
    "VIEWS",
    "WINDOW_POOLS",
]

#: functions of each element alone, with one input that is an activation
# fmt: off
UNARY = frozenset({
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "Ceil", "Clip",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish",
    "LeakyRelu", "Log", "Neg", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign",
    "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh", "ThresholdedRelu",
})
# fmt: on
#: of two tensors, element by element, whose grids the NPU rescales as it reads them
SUMS_AND_PRODUCTS = frozenset({"Add", "Sub", "Mul"})
ARITHMETIC = SUMS_AND_PRODUCTS | {"Div"}
#: layers that have weights
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm"})
#: those, and the product that has weights or two activations
PRODUCTS = LAYERS | {"MatMul"}
#: the same values in the same order, in another shape
RESHAPES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze"})
#: the same values in the same order
VIEWS = RESHAPES | {"Identity", "Dropout"}
#: values of one input, moved or left out, none computed
MOVES = RESHAPES | {"Identity", "Transpose", "Slice", "Split"}
#: results are values of the inputs: one grid holds them all
SELECTIONS = MOVES | {"Concat", "DepthToSpace", "SpaceToDepth", "Expand", "MaxPool"}
REDUCTIONS = frozenset({"ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"})
WINDOW_POOLS = frozenset({"MaxPool", "AveragePool"})
GLOBAL_POOLS = frozenset({"GlobalAveragePool", "GlobalMaxPool"})
MEANS = frozenset({"GlobalAveragePool", "ReduceMean"})
#: between float and integers
CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
#: quantization by the values of each run
RUNTIME_QUANTIZATION = frozenset({"DynamicQuantizeLinear", "MatMulInteger", "ConvInteger", "DynamicQuantizeMatMul"})
#: what cuts a tensor into parts
PARTS = frozenset({"Slice", "Split"})
#: bounds that an integer grid can hold itself
SATURATING = frozenset({"Relu", "Clip"})
LOOPS = frozenset({"Loop", "Scan"})
