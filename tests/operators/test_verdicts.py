"""Placement, linter and quantizer say the same of every ONNX operator, for every compiler version."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import onnx.defs
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, QuantizationError
from n6convert.linter import Severity, limits
from n6convert.linter.view import View
from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor, Where
from n6convert.npu.quantized import _TRIPLE_LAYOUT as QLINEAR
from n6convert.npu.rules import Rule, Subject, decide, rules_for
from n6convert.npu.rules.base import ANY
from n6convert.operators.host import refuse_host_operators, remedy_for
from n6convert.operators.table import Runs, refusal_of, row_of, rows, runs
from n6convert.operators.versions import Version, features, versions
from n6convert.quantization.topology.roles import check_supported, without_form
from n6convert.reference import citations, paragraphs
from tests.operators.hosted import REFUSED

SCHEMAS = {s.name: s for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
FOREIGN = sorted({(s.domain, s.name) for s in onnx.defs.get_all_schemas() if s.domain})
FOREIGN_TYPE = re.compile(r"seq\(|optional\(|tensor\(string\)")
#: operators of older opsets and of onnxruntime that are in ST's tables
OTHERS = {"Upsample", "SimplifiedLayerNormalization", "SkipLayerNormalization"}
SWITCHES = frozenset(f.switch for f in features().values() if f.switch)
PLACED = {
    Runs.NPU: (Where.HW, False),
    Runs.NOTHING: (Where.NONE, False),
    Runs.HYBRID: (Where.HYBRID, False),
    Runs.INT8: (Where.SW, False),
    Runs.FLOAT: (Where.SW, True),
    Runs.REFUSED: (Where.SW, True),
    Runs.UNLISTED: (Where.SW, True),
}
#: what the linter says of each verdict
LINTED = {
    Runs.INT8: {"cpu-operators"},
    Runs.HYBRID: {"cpu-operators"},
    Runs.FLOAT: {"cpu-operators", "fused-normalization"},
    Runs.REFUSED: {"refused-operators", "static-quantization"},
    Runs.UNLISTED: {"unlisted-operators"},
}
ASKED = sorted(set().union(*LINTED.values()))


def placed(op: str, version: Version, switches: frozenset[str]) -> Rule:
    tensors = {name: Tensor(name, (1, 4, 8, 8), "int8", 0.1, 0) for name in ("x", "y")}
    node = Node("n", op, ("x",), ("y",), {})
    graph = Graph("g", [node], tensors, {}, ("x",), ("y",), "qdq")
    return decide(Subject(graph, node, version, switches=switches))


def own_rules(op: str, version: Version) -> list[Rule]:
    return [r for r in rules_for(op) if r.covers(version) and r not in rules_for(ANY + "-")]


def node_of(op: str, domain: str = "") -> ir.Node:
    x = ir.Value(name="x", shape=ir.Shape([1, 4, 8, 8]), type=ir.TensorType(ir.DataType.FLOAT))
    return ir.Node(domain, op, [x], name="n", outputs=[ir.Value(name="y")])


def linted(node: ir.Node, version: Version, switches: frozenset[str], names: Sequence[str]) -> dict[str, Severity]:
    graph = ir.Graph([node.inputs[0]], node.outputs, nodes=[node], opset_imports={"": 17}, name="g")
    view = View(ir.Model(graph, ir_version=8), version, switches=switches)
    return {f.rule: f.severity for name in names for f in limits()[name].findings(view)}


@pytest.mark.parametrize("version", versions(), ids=str)
@pytest.mark.parametrize("switches", [frozenset(), SWITCHES], ids=["stock", "switched"])
def test_the_three_agree_on_every_operator(version: Version, switches: frozenset[str]) -> None:
    for op in SCHEMAS:
        verdict = runs(op, version, switches)
        found = linted(node_of(op), version, switches, ASKED)
        assert set(found) <= LINTED.get(verdict, set()), (op, verdict, found)
        assert bool(found) is (verdict in LINTED), (op, verdict)
        assert (Severity.ERROR in found.values()) is (verdict is Runs.REFUSED), (op, verdict)
        assert (without_form(node_of(op), version) is not None) is (verdict is Runs.REFUSED), (op, verdict)
        if verdict is not Runs.DEPENDS:
            rule = placed(op, version, switches)
            assert (rule.where, rule.float) == PLACED[verdict], (op, verdict, rule.name)
            assert (rule.name == "unknown-operator") is (verdict is Runs.UNLISTED), op


@pytest.mark.parametrize("version", versions(), ids=str)
def test_conditions_are_looked_at_where_the_table_says_so_and_nowhere_else(version: Version) -> None:
    named = {row.name for row in rows()}
    for op in SCHEMAS:
        conditions = [rule for rule in own_rules(op, version) if rule.name not in named]
        if runs(op, version) is Runs.DEPENDS:
            assert conditions or op in QLINEAR, op
            best = [rule for rule in own_rules(QLINEAR.get(op, (op,))[0], version) if rule.where is not Where.SW]
            assert best or op == "DequantizeLinear", f"{op} never runs on the NPU"
        else:
            places = {rule.where for rule in conditions}
            assert places <= {PLACED[runs(op, version)][0]}, f"{op} depends on its form"


def test_operators_of_other_domains_are_refused() -> None:
    for domain, op in FOREIGN:
        assert without_form(node_of(op, domain)) is not None
        assert linted(node_of(op, domain), (4, 0), frozenset(), ["custom-operators"]) != {}


def test_what_only_knows_sequences_and_text_is_refused() -> None:
    for name, schema in SCHEMAS.items():
        kinds = [port.types for port in (*schema.inputs[:1], *schema.outputs[:1])]
        foreign = any(
            kind and all("seq(" in t or "optional(" in t or t == "tensor(string)" for t in kind) for kind in kinds
        )
        assert not foreign or refusal_of(name) is not None, name


def test_rows_are_sourced_and_say_what_to_do() -> None:
    for row in rows():
        assert row.sentence.endswith(".") and row.evidence and set(citations(row.evidence)) <= set(paragraphs())
        assert set(row.operators) <= set(SCHEMAS) | {
            "Upsample",
            "SimplifiedLayerNormalization",
            "SkipLayerNormalization",
        }
        if row.runs not in (Runs.NPU, Runs.NOTHING):
            assert set(row.remedies) == set(row.operators), row.name


def test_the_quantizer_refuses_where_the_version_at_hand_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the newest version ran an operator: a row with ``since``, before the one that refuses."""
    from n6convert.operators import table

    known, newest = table._rows_of(), versions()[-1]
    refused = known[REFUSED][0]
    npu = replace(refused, name="taken", runs=Runs.NPU, host=False, remedies={}, since=newest)
    monkeypatch.setattr(table, "_rows_of", lambda: {**known, REFUSED: (npu, refused)})
    assert refusal_of(REFUSED) is None and without_form(node_of(REFUSED)) is None
    for version in versions():
        taken = version == newest
        assert (without_form(node_of(REFUSED), version) is None) is taken
        found = linted(node_of(REFUSED), version, frozenset(), ASKED)
        assert found == {} if taken else set(found) <= LINTED[Runs.REFUSED] and Severity.ERROR in found.values()
    with pytest.raises(QuantizationError, match="no INT8 form"):
        check_supported([node_of(REFUSED)], versions()[0])


@pytest.mark.parametrize("version", [*versions(), None], ids=str)
def test_what_the_host_does_is_asked_of_the_same_row(version: Version | None) -> None:
    """What is left to the host is refused in float, with the remedy of the row that placement and linter follow."""
    for op in SCHEMAS:
        decided = [row_of(op, v) for v in (versions() if version is None else (version,))]
        hosted = all(row is not None and row.host for row in decided)
        remedy = remedy_for(node_of(op), version)
        assert (remedy is not None) is (hosted or refusal_of(op, version) is not None), op
        if remedy is not None:
            assert decided[-1] is not None and remedy.startswith(decided[-1].remedies[op]), op
        x = ir.Value(name="x", shape=ir.Shape([1, 4]), type=ir.TensorType(ir.DataType.FLOAT))
        node = ir.Node("", op, [x], name="n", outputs=[ir.Value(name="y")])
        model = ir.Model(ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 17}, name="g"), ir_version=8)
        if hosted:
            with pytest.raises(GraphError, match="no form"):
                refuse_host_operators(model, version)
        else:
            refuse_host_operators(model, version)


def test_known_contradictions_are_gone() -> None:
    """TopK, RoiAlign, Unique, Gather and others had three different answers."""
    assert runs("TopK", (4, 0)) is runs("RoiAlign", (2, 1)) is runs("Unique", (3, 0)) is Runs.REFUSED
    assert (runs("Gather", (2, 2)), runs("Gather", (4, 0))) == (Runs.FLOAT, Runs.INT8)
    assert runs("Where", (4, 0)) is runs("ScatterND", (2, 0)) is Runs.UNLISTED
    assert runs("ReduceL1", (4, 0)) is runs("LogSoftmax", (4, 0)) is Runs.FLOAT
    assert (runs("Pow", (3, 0)), runs("Pow", (4, 0))) == (Runs.FLOAT, Runs.DEPENDS)
