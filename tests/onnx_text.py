"""Small graphs for tests: parsed from ONNX's text, or made by a :class:`Builder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import numpy_helper, shape_inference

from n6convert.graph.builder import Builder
from n6convert.runtime.session import run_model

Array = np.ndarray[Any, Any]
Made = ir.Value | Sequence[ir.Value]


def text(body: str, inputs: str, outputs: str, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    """A message from ONNX's textual form.

    Args:
        body: ``y = Relu(x)``, one line a node.
        inputs: ``float[1,2] x``.
        outputs: the same for outputs.
        constants: initializers by name; numbers and double arrays become float32.
    """
    head = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs})'
    model = onnx.parser.parse_model(f"{head} {{ {body} }}")
    for name, value in constants.items():
        array = value if isinstance(value, np.ndarray) and value.dtype != np.float64 else np.asarray(value, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def parsed(body: str, inputs: str, outputs: str, opset: int = 17, **constants: Any) -> ir.Model:
    """The same as a model with inferred shapes."""
    model = text(body, inputs, outputs, opset, **constants)
    return ir.from_proto(shape_inference.infer_shapes(model, data_prop=True))


def made(
    shapes: Mapping[str, Sequence[int]], write: Callable[..., Made], opset: int = 17
) -> tuple[ir.Model, list[ir.Value]]:
    """A model that a builder writes, and the values that it says are the outputs.

    Args:
        shapes: of the inputs, float32.
        write: gets the builder and a value for each input.
        opset: of the model.
    """
    kind = ir.TensorType(ir.DataType.FLOAT)
    inputs = [ir.Value(name=name, shape=ir.Shape(list(s)), type=kind) for name, s in shapes.items()]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": opset}, name="made")
    build = Builder(graph, "b", opset)
    found = write(build, *inputs)
    values = [found] if isinstance(found, ir.Value) else list(found)
    graph.extend(build.nodes)
    graph.outputs.extend(values)
    return ir.Model(graph, ir_version=8), values


def drawn(shapes: Mapping[str, Sequence[int]], seed: int = 0) -> dict[str, Array]:
    """Normal numbers of these shapes."""
    random = np.random.default_rng(seed)
    return {name: random.standard_normal(tuple(s)).astype(np.float32) for name, s in shapes.items()}


def computed(
    shapes: Mapping[str, Sequence[int]], write: Callable[..., Made], opset: int = 17
) -> tuple[list[Array], dict[str, Array]]:
    """What a builder's nodes give for normal numbers, and these; the shapes of all that it made must hold."""
    model, values = made(shapes, write, opset)
    feeds = drawn(shapes)
    outputs = [v for n in model.graph for v in n.outputs]
    model.graph.outputs.extend(v for v in outputs if v not in values)
    given = run_model(model, feeds)
    for value in outputs:
        assert given[str(value.name)].shape == tuple(value.shape or ()), value.name
    return [given[str(v.name)] for v in values], feeds


def node_of(model: ir.Model, op: str) -> ir.Node:
    """The only node of an operator."""
    (found,) = [n for n in model.graph if n.op_type == op]
    return found


def value_of(model: ir.Model, name: str) -> ir.Value:
    """A value by name."""
    everything = [*model.graph.inputs, *model.graph.initializers.values(), *(v for n in model.graph for v in n.outputs)]
    return next(v for v in everything if v.name == name)
