"""The interval of a predicted time: what widens it, and that the shipped widths are calibrated ones."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from n6convert.npu.epoch_cost import EpochCost
from n6convert.npu.evidence import is_thin, reports_of, thin_words
from n6convert.npu.interval import (
    FEATURES,
    Shares,
    frame_of,
    kinds_of,
    limits_of,
    reasons_of,
    shares_of,
    sigma,
    widths,
)
from n6convert.npu.ir import ConvGeometry, Epoch, Lowered, Op, Schedule, Tensor, Where
from n6convert.npu.targets import load_target

KIT = load_target("stm32n6570-dk@4.0")


def test_the_shipped_widths_say_where_they_come_from() -> None:
    table = widths()
    assert "measured rows" in table["source"] and "without its family" in table["source"]
    assert set(table["slopes"]) == set(FEATURES) and all(slope > 0 for slope in table["slopes"].values())
    assert table["base"] > 0 and table["quantile"] > 1
    assert {"Conv 3x3 hw tflite 4.x", "Softmax sw tflite 2.x", "DepthToSpace hybrid onnx 4.x"} <= set(table["kinds"])


def test_limits_are_symmetric_in_the_logarithm_and_a_board_nobody_measured_is_wider() -> None:
    low, high = limits_of(10.0, Shares(), KIT)
    assert low * high == pytest.approx(100)
    assert math.log(high / 10) == pytest.approx(widths()["quantile"] * widths()["base"])
    guess = limits_of(10.0, Shares(), load_target("stm32h7p"))
    assert guess[0] < low < 10 < high < guess[1]


@pytest.mark.parametrize("feature", FEATURES)
def test_every_feature_widens(feature: str) -> None:
    plain, wide = Shares(), replace(Shares(), **{feature: 1.0})
    assert sigma(wide, widths()) > sigma(plain, widths())
    table = {"base": 0.3, "slopes": dict.fromkeys(FEATURES, 0.4), "quantile": 2}
    assert sigma(wide, table) == pytest.approx(0.5) and sigma(plain, table) == 0.3


def _epochs() -> tuple[Lowered, list[Epoch], list[EpochCost]]:
    """Four epochs of 10, 20, 30 and 40 us: on the NPU, outside the chip, software, of a rule seen once."""
    conv = ConvGeometry(8, 8, (3, 3))
    ops = [
        Op("a", "Conv", ("x",), ("a",), evidence="documented", conv=conv),
        Op("b", "Conv", ("a",), ("b",), evidence="documented", conv=conv),
        Op("c", "Frobnicate", ("b",), ("c",), where=Where.SW, evidence="seen in every report"),
        Op("d", "Conv", ("c",), ("d",), evidence="seen 2/2 (r02)", conv=conv),
    ]
    kinds = (Where.HW, Where.HW, Where.SW, Where.HW)
    epochs = [Epoch(i, kind, (op,), op.inputs, op.outputs) for i, (kind, op) in enumerate(zip(kinds, ops, strict=True))]
    costs = [EpochCost(i, kind, 0, 0, 10.0 * (i + 1), 0.0, "compute", external=i == 1) for i, kind in enumerate(kinds)]
    return Lowered(ops, {}, ("x",), ("d",), style="qdq"), epochs, costs


def test_shares_are_of_the_time() -> None:
    lowered, epochs, costs = _epochs()
    frame = frame_of(lowered, (4, 0))
    known = ["Conv 3x3 hw onnx 4.x"]
    found = shares_of(lowered, Schedule(epochs), costs, frame, known=known)
    assert found == Shares(external=0.2, software=0.3, thin=0.4, new=0.3)
    assert kinds_of(epochs[2], {}, frame) == {"Frobnicate sw onnx 4.x"}
    assert reasons_of(replace(found, external=1.0))[0] == "100% of the time in external RAM"


def test_what_was_measured_with_another_compiler_or_front_end_is_new() -> None:
    lowered, epochs, costs = _epochs()
    for known in ("Conv 3x3 hw onnx 3.x", "Conv 3x3 hw tflite 4.x", "Conv 1x1 hw onnx 4.x"):
        assert shares_of(lowered, Schedule(epochs), costs, "onnx 4.x", known=[known]).new == 1


def test_a_new_operator_weighs_by_number_where_its_time_is_small() -> None:
    """How long it takes is what nobody knows: one epoch of four, though its predicted time is a tenth."""
    lowered, epochs, costs = _epochs()
    known = ["Conv 3x3 hw onnx 4.x", "Frobnicate sw onnx 4.x"]
    epochs[0] = replace(epochs[0], ops=(replace(epochs[0].ops[0], kind="Tanh", conv=None),))
    assert shares_of(lowered, Schedule(epochs), costs, "onnx 4.x", known=known).new == 0.25


@pytest.mark.parametrize(
    ("kernel", "groups", "kind"),
    [
        ((1, 1), 1, "Conv 1x1"), ((3, 3), 1, "Conv 3x3"), ((5, 5), 1, "Conv large"), ((1, 7), 1, "Conv row"),
        ((3, 3), 8, "depthwise Conv 3x3"), ((3, 3), 2, "grouped Conv 3x3"),
    ],
)  # fmt: skip
def test_convolutions_are_kinds_by_size_and_groups(kernel: tuple[int, int], groups: int, kind: str) -> None:
    op = Op("a", "Conv", ("x",), ("a",), evidence="documented", conv=ConvGeometry(8, 8, kernel, groups=groups))
    assert kinds_of(Epoch(1, Where.HW, (op,), ("x",), ("a",)), {}, "onnx 4.x") == {f"{kind} hw onnx 4.x"}


def test_a_gate_is_another_kind_than_a_product() -> None:
    shapes = {"x": (1, 8, 4, 4), "gate": (1, 8, 1, 1), "y": (1, 8, 4, 4)}
    tensors = {name: Tensor(name, shape, "int8") for name, shape in shapes.items()}
    for other, kind in (("gate", "Mul repeated"), ("x", "Mul")):
        op = Op("a", "Mul", ("x", other), ("y",), evidence="documented")
        assert kinds_of(Epoch(1, Where.HW, (op,), op.inputs, op.outputs), tensors, "") == {f"{kind} hw "}


@pytest.mark.parametrize(("size", "kind"), [(8, "Mul vector"), (1, "Mul")])
def test_a_scale_for_every_channel_is_another_kind_than_one_for_all(size: int, kind: str) -> None:
    tensors = {name: Tensor(name, (1, 8, 4, 4), "int8") for name in "xy"}
    tensors["s"] = Tensor("s", (1, size, 1, 1), "int8", constant=True)
    op = Op("a", "Mul", ("x", "s"), ("y",), evidence="documented")
    assert kinds_of(Epoch(1, Where.HW, (op,), ("x",), ("y",)), tensors, "") == {f"{kind} hw "}


@pytest.mark.parametrize(
    ("evidence", "reports", "words"),
    [
        ("seen 2/2 (r02)", ("r02",), "seen in one report only"),
        ("inferred from 4/4 unequal Concats of r11", ("r11",), "inferred, never seen"),
        ("seen in one network on 4.0.1", (), "seen in one report only"),
        ("unexplained: r24 has more epochs", ("r24",), "not explained by any report"),
        ("seen r02, r11", ("r02", "r11"), None),
        ("documented; seen r11", ("r11",), None),
        ("seen 48/48 (r15), and in other networks on 4.0", ("r15",), None),
        ("seen in every report", (), None),
        ("documented", (), None),
    ],
)
def test_evidence(evidence: str, reports: tuple[str, ...], words: str | None) -> None:
    assert reports_of(evidence) == reports
    assert (thin_words(evidence), is_thin(evidence)) == (words, words is not None)
