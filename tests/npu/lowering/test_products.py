"""Matrix products in the compiler's terms: multiplications are kept, whatever form they take."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nets.qdq import QdqBuilder

from n6convert.errors import GraphError
from n6convert.npu.ir import Lowered, Op, Where
from n6convert.npu.placement import place, read

Shape = tuple[int, ...]


def _lowered(
    kind: str, left: Shape, right: Shape, constant: int | None = 1, quantized: bool = True, **attributes: int
) -> Lowered:
    """A product between two Sigmoids; ``constant`` says which operand holds weights."""
    b = QdqBuilder("one", opset=17, quantized=quantized)
    operands = [
        b.weight(*shape) if i == constant else b.op("Sigmoid", b.input(*shape, name=f"x{i}"))
        for i, shape in enumerate((left, right))
    ]
    b.output(b.op("Sigmoid", b.op(kind, *operands, **attributes)))
    return place(read(b.model()), (2, 2))[0]


def _convs(lowered: Lowered) -> list[Op]:
    return [op for op in lowered.ops if op.kind == "Conv"]


_SIZES = st.integers(1, 9)


@settings(max_examples=30)
@given(rows=_SIZES, depth=_SIZES, columns=_SIZES, batch=st.sampled_from([(), (1,), (1, 1), (1, 3)]))
def test_weights_are_a_1x1_convolution_over_all_rows(
    rows: int, depth: int, columns: int, batch: tuple[int, ...]
) -> None:
    lowered = _lowered("MatMul", (*batch, rows, depth), (depth, columns))
    (conv,) = _convs(lowered)
    assert conv.conv is not None and conv.conv.kernel == (1, 1)
    assert (conv.conv.in_channels, conv.conv.out_channels) == (depth, columns)
    assert conv.macs == math.prod(batch) * rows * depth * columns
    assert conv.conv.in_hw == conv.conv.out_hw == (1, math.prod(batch) * rows)


@pytest.mark.parametrize("transposed", [0, 1])
def test_a_gemm_may_hold_its_weights_either_way(transposed: int) -> None:
    shape = (7, 5) if transposed else (5, 7)
    (conv,) = _convs(_lowered("Gemm", (3, 5), shape, transB=transposed))
    assert conv.conv is not None and (conv.conv.in_channels, conv.conv.out_channels, conv.macs) == (5, 7, 105)


def test_weights_on_the_left_are_weights() -> None:
    """[6, 5] x [5, 9]: the rows of the weights are the channels of the result."""
    (conv,) = _convs(_lowered("MatMul", (6, 5), (5, 9), constant=0))
    assert conv.conv is not None and (conv.conv.in_channels, conv.conv.out_channels) == (5, 6)
    assert conv.macs == 6 * 5 * 9 and conv.where is Where.HW


def test_several_rows_are_turned_and_one_is_not() -> None:
    one, many = (_lowered("MatMul", (rows, 5), (5, 7)) for rows in (1, 4))
    assert [op.kind for op in many.ops if op.kind == "Transpose"] == ["Transpose", "Transpose"]
    assert not [op for op in one.ops if op.kind == "Transpose"]


@settings(max_examples=15)
@given(heads=st.integers(1, 6), rows=_SIZES, depth=_SIZES, columns=_SIZES)
def test_a_product_of_activations_is_a_software_convolution_for_every_head(
    heads: int, rows: int, depth: int, columns: int
) -> None:
    lowered = _lowered("MatMul", (1, heads, rows, depth), (1, heads, depth, columns), None)
    convs = _convs(lowered)
    assert len(convs) == heads and {op.where for op in convs} == {Where.SW}
    assert sum(op.macs for op in convs) == heads * rows * depth * columns
    names = {name for op in lowered.ops for name in op.outputs}
    assert len(names) == sum(len(op.outputs) for op in lowered.ops), "no tensor is written twice"


@pytest.mark.parametrize(("heads", "epochs"), [(1, 1), (4, 1), (5, 2), (8, 2)])
def test_copies_of_four_heads_share_an_epoch(heads: int, epochs: int) -> None:
    lowered = _lowered("MatMul", (1, heads, 3, 4), (1, heads, 4, 5), None)
    copies = [op for op in lowered.ops if op.kind == "Identity" and "MatMul" in op.attributes.get("operator", "")]
    assert len(copies) == epochs and sum(len(op.outputs) for op in copies) == heads


def test_too_many_matrices_are_refused_by_number() -> None:
    with pytest.raises(GraphError, match="too many matrices") as caught:
        _lowered("MatMul", (1, 4097, 1, 2), (1, 4097, 2, 1), None)
    assert (caught.value.limit, caught.value.found) == (4096, 4097)


def test_a_float_layer_counts_the_same_multiplications() -> None:
    whole = _lowered("MatMul", (4, 5), (5, 7))
    plain = _lowered("MatMul", (4, 5), (5, 7), quantized=False)
    assert sum(op.macs for op in _convs(plain)) == sum(op.macs for op in _convs(whole)) == 140
    assert all(op.where is Where.SW and op.float for op in _convs(plain))


def test_only_the_operand_that_has_heads_is_split() -> None:
    """[1, 1, 3, 4] x [1, 5, 4, 6]: the left matrix serves all five."""
    both, right = (_lowered("MatMul", (1, n, 3, 4), (1, 5, 4, 6), None) for n in (5, 1))
    assert [sum(op.kind == "Split" for op in lowered.ops) for lowered in (both, right)] == [2, 1]
    assert sum(op.macs for op in _convs(right)) == sum(op.macs for op in _convs(both)) == 5 * 3 * 4 * 6
    for lowered in (both, right):
        views = [op for op in lowered.ops if op.kind == "Reshape" and op.attributes == {} and "/part" in op.inputs[0]]
        assert {lowered.tensors[op.outputs[0]].shape for op in views} <= {(3, 4), (4, 6)}
