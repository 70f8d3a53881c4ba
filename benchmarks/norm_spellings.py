"""The same transformer with LayerNorm as one operator, as PyTorch and as TensorFlow spell it out, unrewritten.

    python benchmarks/norm_spellings.py [--recipe tinybert-generator] [--target stm32n6570-dk@2.1 ...]

How many epochs an unrewritten transformer leaves on the CPU depends on the exporter: opset 17 has LayerNormalization,
older ones divide by the deviation, TensorFlow multiplies gamma into its reciprocal first and subtracts from beta. The
published compilation of the small generator (270 epochs, 96 of them software) came from the last kind.
"""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass
from onnx_ir.tape import Tape

Op = Callable[..., ir.Value]
Steps = Callable[[Op, ir.Value, ir.Value, ir.Value, ir.Value], ir.Value]
TARGETS = ("stm32n6570-dk@2.1", "stm32n6570-dk@4.0")


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--recipe", default="tinybert-generator", help="a recipe whose model has LayerNormalization")
    parser.add_argument("--target", nargs="+", default=TARGETS)
    asked = parser.parse_args()
    from n6convert.npu import estimate

    for name, steps in {"one operator": None, "PyTorch": pytorch, "TensorFlow": tensorflow}.items():
        for target in asked.target:
            model = exported(asked.recipe) if steps is None else spelled_out(exported(asked.recipe), steps)
            found = estimate(model, target, assume_quantized=True)
            epochs, time = found.placement.epochs, found.costs.latency.milliseconds
            cpu = epochs.hybrid + epochs.sw
            print(f"{name:14}{target:20}{epochs.hw + cpu:4} epochs, {cpu:3} with the CPU, {time:6.1f} ms", flush=True)


def exported(name: str) -> ir.Model:
    """The float model of a recipe with seeded weights, before anything is done to it."""
    from n6convert.plugin import BuildRequest, Weights
    from n6convert.recipe.checking import finish
    from n6convert.recipe.reader import draft_of_file, recipe_files
    from n6convert.registry import load_plugin

    recipe = finish(draft_of_file(recipe_files()[name]))
    kind = load_plugin(recipe.model)
    with TemporaryDirectory() as folder:
        return (
            kind(recipe.model, kind.Options(**recipe.options))
            .build(BuildRequest(Weights("seeded"), recipe.seed, Path(folder)))
            .model
        )


def spelled_out(model: ir.Model, steps: Steps) -> ir.Model:
    """Every LayerNormalization over the last axis as single steps."""
    for node in [n for n in model.graph if n.op_type == "LayerNormalization"]:
        x, gamma, beta = node.inputs
        tape = Tape()
        epsilon = tape.initializer(ir.tensor(np.float32(node.attributes["epsilon"].as_float())), f"{node.name}.eps")
        result = steps(lambda op, *values, tape=tape, **given: tape.op(op, values, given), x, gamma, beta, epsilon)
        model.graph.insert_before(node, tape.nodes)
        for value in tape.initializers:
            model.graph.register_initializer(value)
        result.shape, result.type = node.outputs[0].shape, node.outputs[0].type
        node.outputs[0].replace_all_uses_with(result, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
    return ShapeInferencePass()(model).model


def pytorch(op: Op, x: ir.Value, gamma: ir.Value, beta: ir.Value, epsilon: ir.Value) -> ir.Value:
    """(x - m) / sqrt(v + eps) * gamma + beta."""
    centered = op("Sub", x, op("ReduceMean", x, axes=[-1]))
    deviation = op("Sqrt", op("Add", op("ReduceMean", op("Mul", centered, centered), axes=[-1]), epsilon))
    return op("Add", op("Mul", op("Div", centered, deviation), gamma), beta)


def tensorflow(op: Op, x: ir.Value, gamma: ir.Value, beta: ir.Value, epsilon: ir.Value) -> ir.Value:
    """x * (gamma / sqrt(v + eps)) + (beta - m * (gamma / sqrt(v + eps)))."""
    mean = op("ReduceMean", x, axes=[-1])
    centered = op("Sub", x, mean)
    deviation = op("Sqrt", op("Add", op("ReduceMean", op("Mul", centered, centered), axes=[-1]), epsilon))
    scale = op("Mul", op("Reciprocal", deviation), gamma)
    return op("Add", op("Mul", x, scale), op("Sub", beta, op("Mul", mean, scale)))


if __name__ == "__main__":
    main()
