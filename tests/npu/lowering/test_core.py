"""What holds of every lowered network: order, single writers, and conversions at each border of int8 and float."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import onnx
import pytest
from nets.qdq import QdqBuilder, attention_encoder, padded_detector

from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Lowered, Tensor, Where
from n6convert.npu.lowering.core import Lowerer, handler_of
from n6convert.npu.placement import place, read
from n6convert.npu.rules.limits import VERSIONS

Build = Callable[[QdqBuilder], str]


def branches(b: QdqBuilder) -> str:
    """A float operator between INT8 ones, read by two of them; a join; a pool."""
    x = b.conv(b.input(1, 8, 16, 16), 8, 8, 3, 1)
    s = b.op("Erf", x)
    y = b.op("Add", b.op("Mul", x, s), s)
    return b.op("MaxPool", b.op("Concat", y, x, axis=1), kernel_shape=[2, 2], strides=[2, 2])


def rows(b: QdqBuilder) -> str:
    x = b.op("Softmax", b.reshape(b.op("Relu", b.input(1, 4, 8, 8)), 1, 4, 64), axis=-1)
    return b.op("Transpose", b.op("Exp", x), perm=[0, 2, 1])


def cuts(b: QdqBuilder) -> str:
    parts = b.ops("Split", [b.input(1, 16, 8, 8), b.constant(np.array([4, 12]))], 2, axis=1)
    return b.op("Concat", b.op("Sigmoid", parts[1]), b.op("Cos", parts[0]), axis=1)


def views_of_floats(b: QdqBuilder) -> str:
    x = b.reshape(b.op("Erf", b.input(1, 6, 4, 4)), 1, 6, 16)
    return b.op("Log", b.reshape(x, 1, 96, 1))


def built(build: Build) -> onnx.ModelProto:
    b = QdqBuilder("net")
    b.output(build(b))
    return b.model()


NETS: dict[str, Callable[[], onnx.ModelProto]] = {
    **{f.__name__: lambda f=f: built(f) for f in (branches, rows, cuts, views_of_floats)},
    "encoder": lambda: attention_encoder(1, 8, 16, 2, 32),
    "detector": padded_detector,
}
CASES = [(name, version) for name in NETS for version in VERSIONS]


def lowered(name: str, version: tuple[int, int]) -> Lowered:
    return place(read(NETS[name]()), version)[0]


@pytest.mark.parametrize(("name", "version"), CASES)
def test_what_is_read_was_written_once_before(name: str, version: tuple[int, int]) -> None:
    found = lowered(name, version)
    known = set(found.inputs) | {n for n, t in found.tensors.items() if t.constant}
    for op in found.ops:
        assert known.issuperset(op.inputs), (op.name, set(op.inputs) - known)
        assert known.isdisjoint(op.outputs), op.name
        known.update(op.outputs)
    assert known.issuperset(found.outputs)
    names = Counter(op.name for op in found.ops)
    assert max(names.values()) == 1, names.most_common(2)


@pytest.mark.parametrize(("name", "version"), CASES)
def test_nobody_reads_a_tensor_of_the_other_kind(name: str, version: tuple[int, int]) -> None:
    """An operator in float reads and writes float32, one in integers codes; conversions stand between."""
    found = lowered(name, version)
    for op in found.ops:
        data = [t for n in op.inputs if not (t := found.tensors[n]).constant]
        made = [found.tensors[n] for n in op.outputs]
        if op.kind == "QuantizeLinear":
            assert not data[0].quantized and made[0].quantized, op.name
        elif op.kind == "DequantizeLinear":
            assert data[0].quantized and not made[0].quantized, op.name
        elif op.where is not Where.NONE:
            assert {t.quantized for t in (*data, *made)} <= {not op.float}, (op.name, op.float)


@pytest.mark.parametrize(("name", "version"), CASES)
def test_every_reader_has_a_conversion_of_its_own_and_every_operator_a_reason(
    name: str, version: tuple[int, int]
) -> None:
    """As reports show it: what is inserted at a border is read once."""
    found = lowered(name, version)
    reads = Counter([*found.outputs, *(n for op in found.ops for n in dict.fromkeys(op.inputs))])
    inserted = [op for op in found.ops if op.kind in ("QuantizeLinear", "DequantizeLinear") and not op.sources]
    assert all(reads[op.outputs[0]] == 1 for op in inserted)
    for op in found.ops:
        assert op.rule and op.reason and op.evidence, op.name
        assert op.where in (Where.HW, Where.NONE) or not any(
            (op.units.conv, op.units.arith, op.units.activ, op.units.pool)
        )
        assert op.remedy is None or op.where is not Where.HW


def lowerer(*nodes: Node, **tensors: Tensor) -> Lowerer:
    graph = Graph("g", list(nodes), dict(tensors), {}, ("x",), (nodes[-1].outputs[0],) if nodes else (), "qdq")
    return Lowerer(graph, (4, 0))


def codes(name: str, *shape: int, zero: int = 3) -> Tensor:
    return Tensor(name, shape, "int8", 0.1, zero)


def test_a_new_tensor_takes_the_grid_of_its_model_or_none() -> None:
    low = lowerer(x=codes("x", 1, 4))
    like, real, other = low.fresh("x", "a"), low.fresh("x", "a", dtype="float32"), low.fresh("x", "b", shape=(2, 2))
    assert len({like, real, other}) == 3
    assert (low.tensors[like].scale, low.tensors[like].zero_point, low.shape(like)) == (0.1, 3, (1, 4))
    assert not low.tensors[real].quantized and low.is_float(real) and not low.is_float(like)
    assert low.shape(other) == (2, 2) and low.tensors[other].quantized


@pytest.mark.parametrize(
    ("zero", "reader", "shifted"), [(-128, "Conv", True), (-128, "Add", False), (3, "Conv", False)]
)
def test_only_a_convolution_wants_a_shift_of_codes_from_the_lowest(zero: int, reader: str, shifted: bool) -> None:
    node = Node("n", reader, ("x", "w"), ("y",))
    low = lowerer(
        node,
        x=codes("x", 1, 4, 8, 8, zero=zero),
        y=codes("y", 1, 4, 8, 8),
        w=Tensor("w", (4, 4, 1, 1), "int8", constant=True),
    )
    assert low.feeds_shifted_conv("x") == shifted and not low.feeds_shifted_conv("y")
    found = low.shifted(node, "x")
    if zero != -128:
        assert found == "x" and not low.ops
        return
    assert (low.tensors[found].dtype, low.tensors[found].zero_point) == ("uint8", 0) and len(low.ops) == 1
    assert low.shifted(node, "x") == found and len(low.ops) == 1, "once for all readers"


def test_operators_without_a_handler_are_lowered_as_they_are() -> None:
    assert handler_of("Conv") is not None and handler_of("Foo") is None
    low = lowerer(Node("n", "Foo", ("x",), ("y",)), x=codes("x", 1, 4), y=codes("y", 1, 4))
    found = low.lower()
    assert [op.kind for op in found.ops] == ["DequantizeLinear", "Foo", "QuantizeLinear"]
    assert found.outputs == found.ops[-1].outputs and found.ops[1].sources == ()
