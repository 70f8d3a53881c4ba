"""Small valid networks of many forms, to be damaged."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["NETWORKS"]

_SIDE = 8


def _model(name: str, text: str, **weights: Any) -> onnx.ModelProto:
    """A network in ONNX's own notation with its weights; 16 x 16 images, or what the text says."""
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 17]> {name} {text}')
    tensors = [numpy_helper.from_array(np.asarray(array), key) for key, array in weights.items()]
    model.graph.initializer.extend(tensors)
    for index, node in enumerate(model.graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    return model


def _floats(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(shape) * 0.3).astype(np.float32)


def _images() -> onnx.ModelProto:
    return _model(
        "images",
        f"""(float[1,3,{_SIDE},{_SIDE}] x) => (float[1,5] y) {{
            a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)
            n = BatchNormalization(a, scale, shift, mean, spread)
            r = Relu(n)
            d = Conv<pads=[1,1,1,1], group=8>(r, dw)
            s = Add(d, r)
            p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(s)
            g = GlobalAveragePool(p)
            f = Flatten(g)
            y = Gemm<transB=1>(f, v, c)
        }}""",
        w=_floats(8, 3, 3, 3), b=_floats(8), scale=np.ones(8, np.float32), shift=_floats(8), mean=_floats(8, seed=1),
        spread=np.ones(8, np.float32), dw=_floats(8, 1, 3, 3), v=_floats(5, 8), c=_floats(5),
    )  # fmt: skip


def _pyramid() -> onnx.ModelProto:
    return _model(
        "pyramid",
        f"""(float[1,4,{_SIDE},{_SIDE}] x) => (float[1,12,{_SIDE},{_SIDE}] y) {{
            c1, c2 = Split<axis=1>(x, halves)
            m = Conv<pads=[1,1,1,1]>(x, w)
            s = Sigmoid(m)
            q = Mul(m, s)
            h = AveragePool<kernel_shape=[2,2], strides=[2,2]>(q)
            u = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(h, , scales)
            k = Slice(u, starts, ends, axes)
            e = Pad(k, pads)
            t = Transpose<perm=[0,1,3,2]>(e)
            y = Concat<axis=1>(c1, t, c2)
        }}""",
        w=_floats(8, 4, 3, 3), halves=np.array([2, 2]), scales=np.array([1, 1, 2, 2], np.float32),
        starts=np.array([1]), ends=np.array([_SIDE - 1]), axes=np.array([2]),
        pads=np.array([0, 0, 1, 0, 0, 0, 1, 0]),
    )  # fmt: skip


def _attention() -> onnx.ModelProto:
    return _model(
        "attention",
        """(float[1,6,8] x) => (float[1,6,8] y) {
            n = LayerNormalization<axis=-1>(x, scale, shift)
            q = MatMul(n, wq)
            k = MatMul(n, wk)
            v = MatMul(n, wv)
            t = Transpose<perm=[0,2,1]>(k)
            a = MatMul(q, t)
            d = Div(a, root)
            s = Softmax<axis=-1>(d)
            o = MatMul(s, v)
            r = Add(o, x)
            g = Erf(r)
            e = Add(g, one)
            y = Mul(r, e)
        }""",
        scale=np.ones(8, np.float32), shift=_floats(8), wq=_floats(8, 8), wk=_floats(8, 8, seed=1),
        wv=_floats(8, 8, seed=2), root=np.array(2.83, np.float32), one=np.array(1, np.float32),
    )  # fmt: skip


def _shapes() -> onnx.ModelProto:
    return _model(
        "shapes",
        f"""(float[1,3,{_SIDE},{_SIDE}] x) => (float[1,192] y) {{
            s = Shape(x)
            n = Gather<axis=0>(s, zero)
            u = Unsqueeze(n, zero)
            t = Concat<axis=0>(u, rest)
            r = Reshape(x, t)
            z = ConstantOfShape(t)
            k = Tile(r, ones)
            l = Clip(k, low, high)
            y = Where(mask, l, z2)
        }}""",
        zero=np.array([0]), rest=np.array([3 * _SIDE * _SIDE]), ones=np.array([1, 1]), low=np.array(0, np.float32),
        high=np.array(6, np.float32), mask=np.array([True]), z2=np.array([0.5], np.float32),
    )  # fmt: skip


def _quantized() -> onnx.ModelProto:
    return _model(
        "quantized",
        f"""(float[1,3,{_SIDE},{_SIDE}] x) => (float[1,4,{_SIDE},{_SIDE}] y) {{
            q = QuantizeLinear(x, s, z)
            d = DequantizeLinear(q, s, z)
            w = DequantizeLinear<axis=0>(wq, ws, wz)
            c = Conv<pads=[1,1,1,1]>(d, w)
            r = Relu(c)
            o = QuantizeLinear(r, s, z)
            y = DequantizeLinear(o, s, z)
        }}""",
        s=np.array(0.02, np.float32), z=np.array(-3, np.int8), wq=np.arange(108, dtype=np.int8).reshape(4, 3, 3, 3),
        ws=np.full(4, 0.01, np.float32), wz=np.zeros(4, np.int8),
    )  # fmt: skip


def _steps() -> onnx.ModelProto:
    model = _model(
        "steps",
        """(float[3,1,4] x) => (float[3,1,1,5] y) {
            y, last = GRU<hidden_size=5>(x, w, r)
        }""",
        w=_floats(1, 15, 4), r=_floats(1, 15, 5),
    )  # fmt: skip
    return model


def _branches() -> onnx.ModelProto:
    """An If with a constant condition, a local function and a Constant node."""
    body = onnx.helper.make_graph(
        [helper.make_node("Relu", ["x"], ["t"])], "then", [], [helper.make_tensor_value_info("t", 1, None)]
    )
    other = onnx.helper.make_graph(
        [helper.make_node("Sigmoid", ["x"], ["e"])], "else", [], [helper.make_tensor_value_info("e", 1, None)]
    )
    yes = helper.make_node("Constant", [], ["yes"], value=numpy_helper.from_array(np.array(True)))
    nodes = [
        yes,
        helper.make_node("If", ["yes"], ["i"], name="if", then_branch=body, else_branch=other),
        helper.make_node("Twice", ["i"], ["y"], domain="own", name="call"),
    ]
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    inner = [helper.make_node("Add", ["a", "a"], ["b"])]
    twice = helper.make_function("own", "Twice", ["a"], ["b"], inner, opsets[:1])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, 4, 4]) for name in "xy")
    graph = helper.make_graph(nodes, "branches", [x], [y])
    return helper.make_model(graph, opset_imports=opsets, functions=[twice], ir_version=8)


NETWORKS = [_images, _pyramid, _attention, _shapes, _quantized, _steps, _branches]
