"""How rules are written and found: names and sentences from functions, order, versions, and what a predicate sees."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest

from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import ConvGeometry, Lowered, Op, Tensor, Where
from n6convert.npu.rules import Subject, base, decide, known_operators, rules_for
from n6convert.npu.rules.base import ANY, Rule, add, registered, rule
from n6convert.npu.rules.limits import VERSIONS, values
from n6convert.npu.targets import load_target
from n6convert.npu.weights import aligned, weight_bytes
from n6convert.operators.table import Runs, row_of, rows


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Rule]]:
    """A register of its own."""
    found: dict[str, list[Rule]] = defaultdict(list)
    monkeypatch.setattr(base, "_RULES", found)
    return found


def test_a_rule_is_named_like_its_function_and_says_its_docstring(own: Any) -> None:
    name, number = next((k, v) for k, v in values().items() if isinstance(v, int))

    @rule("Relu", "Clip", where=Where.SW, evidence="seen r02", as_float=True, remedy="another way", rewrite="some-rule")
    def of_the_test(s: Subject) -> bool:
        return True

    of_the_test.__doc__ = None
    (found,) = own["Relu"]
    assert own["Clip"] == [found] and found.name == "of-the-test" and found.ops == ("Relu", "Clip")
    assert (found.where, found.float, found.evidence, found.remedy, found.rewrite) == (
        Where.SW,
        True,
        "seen r02",
        "another way",
        "some-rule",
    )

    def with_a_number(s: Subject) -> bool:
        return True

    with_a_number.__doc__ = f"""At most {{{name}}}
        of them."""
    rule("Neg", where=Where.HW, evidence="e")(with_a_number)
    assert own["Neg"][0].sentence == f"At most {number} of them." and registered() == ["Clip", "Neg", "Relu"]


def test_a_feature_that_nobody_knows_is_a_mistake_of_ours(own: Any) -> None:
    for key in ("needs", "without"):
        with pytest.raises(KeyError):
            rule("Relu", where=Where.HW, evidence="e", **{key: "no_such_feature"})  # type: ignore[arg-type]


def made(name: str, ops: tuple[str, ...], applies: bool = True, **more: Any) -> Rule:
    return Rule(name, ops, Where.HW, False, "sentence", "evidence", lambda s: applies, **more)


def test_rules_of_every_operator_come_first_and_the_first_that_applies_decides(own: Any) -> None:
    for one in (made("own", ("Relu",)), made("second", ("Relu",)), made("every", (ANY,), applies=False)):
        add(one)
    assert [r.name for r in rules_for("Relu")] == ["every", "own", "second"]
    assert [r.name for r in rules_for("Unknown")] == ["every"] and registered() == ["Relu"]
    graph = Graph("g", [], {}, {}, (), ())
    assert decide(Subject(graph, Node("n", "Relu", (), ()), (4, 0))).name == "own"


@pytest.mark.parametrize(("more", "covered"), [
    ({}, set(VERSIONS)), ({"since": (3, 0)}, {v for v in VERSIONS if v >= (3, 0)}),
    ({"needs": "hybrid"}, {v for v in VERSIONS if v >= (3, 0)}), ({"without": "hybrid"},
    {v for v in VERSIONS if v < (3, 0)}),
])  # fmt: skip
def test_versions_that_a_rule_belongs_to(more: dict[str, Any], covered: set[tuple[int, int]]) -> None:
    found = {v for v in VERSIONS if made("r", ("Relu",), **more).covers(v)}
    assert found == covered or "hybrid" in more.values() and found and found != set(VERSIONS)


def test_what_a_predicate_sees() -> None:
    tensors = {
        "x": Tensor("x", (1, 4, 8), "int8", 0.1, 3),
        "w": Tensor("w", (4,), "int8", constant=True),
        "y": Tensor("y", (1, 4, 8), "int8"),
    }
    node = Node("n", "Op", ("x", "", "w"), ("y",), {"axis": -1, "mode": "a"})
    subject = Subject(Graph("g", [node], tensors, {}, ("x",), ("y",)), node, (4, 0))
    assert [t.name for t in subject.data] == ["x"] and [t.name for t in subject.parameters] == ["w"]
    assert subject.output.name == "y" and subject.input(0) is tensors["x"] and subject.input(2) is tensors["w"]
    assert subject.input(1) is None and subject.input(9) is None
    assert subject.axis() == 2 and subject.attribute("mode") == "a" and subject.attribute("none", 5) == 5
    node.attributes.pop("axis")
    assert subject.axis(1) == 1 and subject.axis() == 0


def test_each_row_of_the_table_is_a_rule_of_each_of_its_operators() -> None:
    where = {Runs.NPU: Where.HW, Runs.NOTHING: Where.NONE, Runs.HYBRID: Where.HYBRID}
    for row in rows():
        for op in row.operators:
            (found,) = [r for r in rules_for(op) if r.name == row.name and r.ops == (op,)]
            assert found.where == where.get(row.runs, Where.SW) and found.remedy == row.remedies.get(op)
            assert found.float == (row.runs in (Runs.FLOAT, Runs.REFUSED)) and "{" not in found.sentence


def test_every_operator_is_decided_for_every_version() -> None:
    """The rules that look at nothing but the operator: the last one of each."""
    for op in known_operators():
        for version in VERSIONS:
            row = row_of(op, version)
            last = [r for r in rules_for(op) if r.covers(version)]
            assert last or row is None, (op, version)


@pytest.mark.parametrize(("address", "wanted"), [(0, 0), (1, 16), (15, 16), (16, 16), (17, 32), (1 << 30, 1 << 30)])
def test_buffers_start_at_multiples_of_sixteen(address: int, wanted: int) -> None:
    assert aligned(address) == wanted


def convolution(name: str, weight: str, where: Where = Where.HW, **more: Any) -> Op:
    geometry = ConvGeometry(8, 4, (3, 3), in_hw=(10, 10), out_hw=(8, 8))
    return Op(name, "Conv", ("x", weight, "b"), (f"y{name}",), where, conv=geometry, sources=(name,), **more)


def network(*ops: Op) -> Lowered:
    tensors = {"x": Tensor("x", (1, 4, 10, 10), "int8", 0.1, 3), "b": Tensor("b", (8,), "int32", constant=True)}
    tensors |= {w: Tensor(w, (8, 4, 3, 3), "int8", constant=True, per_channel=True) for w in ("w", "v")}
    tensors |= {f"y{op.name}": Tensor(f"y{op.name}", (1, 8, 8, 8), "int8", 0.1, 3) for op in ops}
    tensors["table"] = Tensor("table", (5,), "int8", constant=True)
    return Lowered(list(ops), tensors, ("x",), tuple(f"y{op.name}" for op in ops))


def test_a_weight_that_two_layers_read_is_stored_once() -> None:
    target = load_target("stm32n6570-dk@4.0")
    one, same, other = (network(*ops) for ops in (
        [convolution("a", "w")], [convolution("a", "w"), convolution("b", "w")],
        [convolution("a", "w"), convolution("b", "v")]))  # fmt: skip
    single = weight_bytes(one.ops, one, target)
    assert weight_bytes(other.ops, other, target) == 2 * single > weight_bytes(same.ops, same, target) >= single


def test_software_keeps_weights_as_they_are_and_floats_are_four_bytes() -> None:
    target = load_target("stm32n6570-dk@4.0")
    integer, real = (network(convolution("a", "w", Where.SW, float=f)) for f in (False, True))
    plain = 8 * 4 * 9
    assert plain <= weight_bytes(integer.ops, integer, target) <= plain + 64
    assert weight_bytes(real.ops, real, target) >= 4 * plain


def test_weights_that_are_computed_and_operands_of_others() -> None:
    target = load_target("stm32n6570-dk@4.0")
    net = network(convolution("a", "w"))
    net.tensors["w"].constant = False
    assert weight_bytes(net.ops, net, target) == 0
    table = Op("t", "Gather", ("x", "table"), ("ya",))
    assert weight_bytes([table], net, target) == 16, "five bytes, aligned"
