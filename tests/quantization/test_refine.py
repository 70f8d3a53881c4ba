"""Refining: what the time budget does not reach stays as it was, and the result says so."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.layerwise import walk
from n6convert.quantization.layerwise.refine import refine
from n6convert.quantization.layerwise.walk import layers_at_once, layers_of, rows_of, walk_layers
from n6convert.quantization.methods import METHODS
from n6convert.quantization.prepare.prepare import prepare
from n6convert.quantization.time_budget import BudgetExceeded, TimeBudget

from .nets import cnn, feeds

PLAIN = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")
SOURCE = feeds((1, 3, 16, 16), 6)


class Ticking(TimeBudget):
    """Ends at the given look at it, and counts the looks."""

    def __init__(self, looks: int = 1 << 30) -> None:
        super().__init__()
        self.end, self.looks = looks, 0

    @property
    def ended(self) -> bool:
        self.looks += 1
        return self.looks > self.end


def integers(model: ir.Model) -> dict[str, list[np.ndarray]]:
    return {x.name: [x.initializer(i).const_value.numpy() for i in (1, 2)] for x in layers_of(model)}


def equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def refined(clock: TimeBudget, otherwise: ir.Model | None = None) -> tuple[ir.Model, ir.Model, list[str]]:
    int8 = quantize(cnn(), SOURCE, PLAIN).model
    return int8, *refine(
        prepare(cnn()), int8, list(SOURCE()), rounding=True, bias=True, otherwise=otherwise, budget=clock
    )


def test_wherever_the_clock_ends_layers_are_refined_whole_or_not_at_all() -> None:
    clock = Ticking()
    int8, whole, left = refined(clock)
    assert left == []
    before, after = integers(int8), integers(whole)
    reached = set()
    for looks in range(0, clock.looks, 7):
        try:
            _, found, left = refined(Ticking(looks))
        except BudgetExceeded:
            continue
        assert list(before)[-len(left) :] == left or not left, "layers are refined in order"
        for name, numbers in integers(found).items():
            assert equal(numbers, before[name] if name in left else after[name]), (looks, name)
        reached.add(len(left))
    assert len(reached) >= 4, "the clock ended in too few places for this to say anything"


def test_layers_that_are_left_become_as_they_were_refined_before() -> None:
    corrected, _ = refine(
        prepare(cnn()), quantize(cnn(), SOURCE, PLAIN).model, list(SOURCE()), rounding=False, bias=True
    )
    clock = Ticking()
    refined(clock)
    _, found, left = refined(Ticking(clock.looks * 2 // 3), corrected)
    assert 0 < len(left) < len(integers(found))
    assert all(equal(integers(found)[name], integers(corrected)[name]) for name in left)


def test_no_time_at_all_leaves_ranges_and_nearest_rounding() -> None:
    config = QuantizationConfig(time_budget=1e-9)
    result = quantize(cnn(), SOURCE, config, milliseconds=lambda model: 1.0)
    costly = [m.name for m in METHODS if m.cost and m.wanted(config)]
    assert result.facts["methods_out_of_time"] == costly
    assert all(name in result.facts["warnings"][-1] for name in costly)
    timeless = quantize(cnn(), SOURCE, config)
    assert timeless.facts["methods_out_of_time"] == [n for n in costly if n != "merged convolutions"]
    plain = quantize(cnn(), SOURCE, PLAIN.model_copy(update={"ranges": config.ranges, "time_budget": 1e-9}))
    assert all(equal(v, integers(plain.model)[n]) for n, v in integers(result.model).items())


def test_a_budget_that_ends_inside_rounding_is_reported_with_the_layers_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from n6convert.quantization.methods import context

    layers = len(integers(quantize(cnn(), SOURCE, PLAIN).model))
    config = QuantizationConfig(equalization=False, bias_correction="off", time_budget=1000, effort="thorough")
    clock = Ticking()
    monkeypatch.setattr(context, "TimeBudget", lambda budget: clock)
    quantize(cnn(), SOURCE, config)
    clock.end, clock.looks = clock.looks * 3 // 4, 0
    facts = quantize(cnn(), SOURCE, config).facts
    record = facts["methods"][-1]
    assert record["method"] == "second-order rounding"
    assert 0 < len(record["layers_left"]) < layers
    assert any(f"{len(record['layers_left'])} layers" in warning for warning in facts["warnings"])


def test_enough_time_changes_nothing() -> None:
    free, timed = (quantize(cnn(), SOURCE, QuantizationConfig(time_budget=b)) for b in (None, 10_000.0))
    assert free.facts["methods"] == timed.facts["methods"] and timed.facts["methods_out_of_time"] == []
    assert all(equal(v, integers(timed.model)[n]) for n, v in integers(free.model).items())


@pytest.mark.parametrize("step", [1, 3])
def test_rows_of_several_samples_are_the_results_of_each_at_the_places(step: int) -> None:
    """Wider strides and several samples in one run change nothing: the layer alone, one sample at a time, says so."""
    int8 = quantize(cnn(), SOURCE, PLAIN).model
    kinds = set()
    for layer in walk_layers(int8, list(SOURCE())):
        rows = np.concatenate(list(layer.rows(step)))
        alone = [rows_of(layer.node, values, step) for values in layer.outputs()]
        np.testing.assert_array_equal(rows, np.concatenate(alone))
        kinds.add(layer.node.op_type)
    assert kinds == {"Conv", "ConvTranspose", "Gemm"}


def test_layers_at_once_read_what_a_walk_gives_them(monkeypatch: pytest.MonkeyPatch) -> None:
    int8 = quantize(cnn(), SOURCE, PLAIN).model
    seen = {layer.name: list(layer.codes()) for layer in walk_layers(int8, list(SOURCE()))}
    at_once = layers_at_once(int8, SOURCE())
    assert at_once is not None
    found = {layer.name: list(layer.codes()) for layer in at_once}
    assert list(found) == list(seen) and all(equal(found[n], seen[n]) for n in seen)
    size = sum(sum(c.size for c in codes) for codes in {id(c[0]): c for c in found.values()}.values())
    for room, fits in ((size, True), (size - 1, False)):
        monkeypatch.setattr(walk, "_HELD", room)
        assert (layers_at_once(int8, SOURCE()) is not None) == fits


def test_a_walk_that_stops_at_some_layers_shows_what_the_whole_one_does_there() -> None:
    int8 = quantize(cnn(), SOURCE, PLAIN).model
    seen = {layer.name: list(layer.codes()) for layer in walk_layers(int8, list(SOURCE()))}
    names = list(seen)[1::2]
    found = {layer.name: list(layer.codes()) for layer in walk_layers(int8, list(SOURCE()), names=names)}
    assert list(found) == names and all(equal(found[n], seen[n]) for n in names)


def test_of_chosen_layers_alone_weights_are_rounded() -> None:
    int8, prepared = quantize(cnn(), SOURCE, PLAIN).model, prepare(cnn())
    chosen = [layer.name for layer in layers_of(int8)][1]
    found, left = refine(prepared, int8, SOURCE(), rounding=True, bias=False, only={chosen})
    before, after = integers(int8), integers(found)
    assert left == [] and [n for n in before if not equal(before[n], after[n])] == [chosen]


def test_rounding_alone_needs_no_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit in memory is walked over, and few codes differ: of layers behind others that were rounded."""
    int8 = quantize(cnn(), SOURCE, PLAIN).model
    made = [integers(int8)]
    for room in (1 << 26, 1):
        monkeypatch.setattr(walk, "_HELD", room)
        made.append(integers(refine(prepare(cnn()), int8, list(SOURCE()), rounding=True, bias=False)[0]))
    nearest, at_once, walked = made
    first, *later = list(nearest)
    assert equal(at_once[first], walked[first]) and not equal(at_once[first], nearest[first])
    same = [np.mean(at_once[n][0] == walked[n][0]) for n in later]
    assert min(same) > 0.7, same


def test_biases_of_the_named_layers_alone_are_corrected() -> None:
    prepared, int8 = prepare(cnn()), quantize(cnn(), SOURCE, PLAIN).model
    before = {x.name: x.initializer(2).const_value.numpy() for x in layers_of(int8)}  # type: ignore[union-attr]
    chosen = list(before)[1]
    found, left = refine(prepared, int8, list(SOURCE()), rounding=False, bias=True, only={chosen})
    after = {x.name: x.initializer(2).const_value.numpy() for x in layers_of(found)}  # type: ignore[union-attr]
    assert not left
    assert {n for n in before if not np.array_equal(before[n], after[n])} == {chosen}
