"""Sums, products, normalizations in the compiler's own pieces: units, types and tensors between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from nets.qdq import QdqBuilder

from n6convert.npu.ir import Lowered, Op, Units, Where
from n6convert.npu.placement import place, read
from n6convert.npu.rules.limits import EPOCH_UNITS

Build = Callable[[QdqBuilder], str]


def _made(build: Build, operator: str, version: tuple[int, int] = (4, 0), quantized: bool = True,
          switches: frozenset[str] = frozenset()) -> tuple[list[Op], Lowered]:  # fmt: skip
    b = QdqBuilder("one", opset=17, quantized=quantized)
    b.output(build(b))
    lowered, _ = place(read(b.model()), version, switches=switches)
    return [op for op in lowered.ops if op.attributes.get("operator") == operator], lowered


def _image(b: QdqBuilder, name: str = "x", zero: int = 3) -> str:
    return b.op("Exp", b.input(1, 8, 4, 4, name=name), zero=zero)


@pytest.mark.parametrize("kind", ["Relu", "Sigmoid", "Tanh", "Exp", "Sqrt", "Neg"])
def test_functions_take_a_table(kind: str) -> None:
    (*_, op), _ = _made(lambda b: b.op(kind, b.op("Softmax", _image(b)), pair=True), kind)
    assert op.units == Units(activ=1) and op.where is Where.HW


def test_a_slope_by_channel_is_five_pieces_of_one_map() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("PRelu", _image(b), b.weight(8, 1, 1))

    made, lowered = _made(build, "PRelu")
    assert [op.kind for op in made] == ["Clip", "Mul", "Add", "Relu", "Add"]
    assert sum((op.units for op in made), Units()) == Units(activ=2, arith=3)
    assert lowered.tensors[made[1].outputs[0]].dtype == "int16", "the product keeps its precision"
    assert {made[2].outputs[0], made[3].outputs[0]} == set(made[4].inputs)
    assert {lowered.tensors[op.outputs[0]].shape for op in made} == {(1, 8, 4, 4)}


@pytest.mark.parametrize(("operands", "units"), [(2, 1), (3, 2), (5, 4), (9, 4)])
def test_a_sum_takes_a_unit_for_each_further_operand(operands: int, units: int) -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("Sum", *(_image(b, f"x{i}") for i in range(operands)))

    made, _ = _made(build, "Sum")
    assert [(op.kind, op.units) for op in made] == [("Add", Units(arith=units))]


def test_two_that_repeat_are_multiplied_in_16_bits_by_the_cpu() -> None:
    def build(b: QdqBuilder) -> str:
        left, right = b.input(1, 8, 4, 1, name="left"), b.input(1, 8, 1, 4, name="right")
        return b.op("Mul", b.op("Exp", left), b.op("Exp", right))

    (product, sum_), lowered = _made(build, "Mul")
    assert (product.where, sum_.where, sum_.kind) == (Where.SW, Where.HW, "Add")
    assert lowered.tensors[product.outputs[0]].dtype == "int16" and sum_.inputs[0] == product.outputs[0]


@pytest.mark.parametrize(("expanded", "parts"), [(False, 1), (True, 3)])
def test_an_expanded_softmax_fills_its_epochs(expanded: bool, parts: int) -> None:
    switches = frozenset({"expand-softmax"}) if expanded else frozenset[str]()
    made, _ = _made(lambda b: b.op("Softmax", _image(b), axis=-1), "Softmax", switches=switches)
    assert len(made) == parts
    assert all((op.units == EPOCH_UNITS) is expanded for op in made)
    for before, after in zip(made, made[1:], strict=False):
        assert after.inputs == before.outputs


@pytest.mark.parametrize(("version", "pieces"), [((3, 0), 1), ((4, 0), 10)])
def test_a_fused_normalization_of_4_x_is_ten_operators(version: tuple[int, int], pieces: int) -> None:
    """Two means, a difference, a square, a sum, a root, a reciprocal, two products and the shift."""

    def build(b: QdqBuilder) -> str:
        ones = [b.constant(np.ones(16, np.float32)) for _ in range(2)]
        return b.op("LayerNormalization", b.op("Exp", b.input(1, 6, 16)), *ones)

    made, lowered = _made(build, "LayerNormalization", version)
    assert len(made) == pieces
    if pieces > 1:
        assert sorted(op.kind for op in made) == sorted(
            ["GlobalAveragePool"] * 2 + ["Sub", "Sqrt", "Reciprocal"] + ["Mul"] * 3 + ["Add"] * 2
        )
        rows = [op for op in made if lowered.tensors[op.outputs[0]].shape == (1, 6, 1)]
        assert [op.kind for op in rows] == ["GlobalAveragePool", "GlobalAveragePool", "Add", "Sqrt", "Reciprocal"]
        written = {name for op in lowered.ops for name in op.outputs} | set(lowered.inputs)
        assert all(name in written or lowered.tensors[name].constant for op in made for name in op.inputs)


def test_a_conversion_between_two_grids_is_a_sum() -> None:
    (op,), _ = _made(lambda b: b.op("Exp", b.pair(_image(b), 0.2, 7)), "QuantizeLinear")
    assert (op.kind, op.where, op.units) == ("Add", Where.HW, Units(arith=1))


@pytest.mark.parametrize("operator", ["Log", "Round", "Floor"])
def test_a_float_operator_stands_between_its_conversions(operator: str) -> None:
    """One before it, and one behind it for each of its readers."""

    def build(b: QdqBuilder) -> str:
        y = b.op(operator, _image(b))
        return b.op("Add", b.op("Exp", y), b.op("Sigmoid", y))

    made, lowered = _made(build, operator)
    assert len(made) == 1 and made[0].float and made[0].where is Where.SW
    kinds = [op.kind for op in lowered.ops]
    assert (kinds.count("DequantizeLinear"), kinds.count("QuantizeLinear")) == (1, 2)
    at = kinds.index(operator)
    assert kinds[at + 1 : at + 3] == ["QuantizeLinear"] * 2, "right behind the operator that they belong to"
