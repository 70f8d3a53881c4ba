"""Why a network is slow: time by what it waits for, and levers priced by pricing the schedule again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from nets.qdq import QdqBuilder

from n6convert.npu import Estimate, estimate
from n6convert.npu.bottlenecks import BOUNDS
from n6convert.npu.options import CompilerOptions
from n6convert.npu.targets import load_target

KIT = "stm32n6570-dk@4.0"


def _estimate(build: object, target: str = KIT, **options: object) -> Estimate:
    builder = QdqBuilder("net")
    builder.output(build(builder))  # type: ignore[operator]
    return estimate(builder.model(), target, options=CompilerOptions(**options))  # type: ignore[arg-type]


def _flash_bound(b: QdqBuilder) -> str:
    return b.conv(b.conv(b.input(1, 16, 4, 4), 16, 512, zero=-128), 512, 512, zero=-128)


def test_the_bounds_add_up_to_the_time(neuralart_dir: Path) -> None:
    path = neuralart_dir / "reports/r11_yolov8n_micro_224_int8/yolov8n_micro_224_int8.onnx"
    found = estimate(path, KIT)
    why = found.bottlenecks()
    assert sum(why.milliseconds.values()) == pytest.approx(found.costs.latency.milliseconds)
    assert set(why.milliseconds) <= set(BOUNDS) and {"compute", "flash", "software", "hybrid"} <= set(why.milliseconds)
    assert len(why.longest) == 10 and why.longest[0].operators == "Softmax" and why.longest[0].bound == "software"
    lengths = [epoch.milliseconds for epoch in why.longest]
    assert lengths == sorted(lengths, reverse=True)
    assert [lever.gain for lever in why.levers] == sorted((lever.gain for lever in why.levers), reverse=True)


def test_four_bits_halve_what_waits_for_flash() -> None:
    """512 x 512 weights: 262,144 B at 380 MB/s are 0.69 ms, half of it in 4 bits."""
    why = _estimate(_flash_bound).bottlenecks()
    longest = why.longest[0]
    assert (longest.bound, longest.lever) == ("flash", "weights of 4 bits")
    assert longest.gain == pytest.approx(512 * 512 / 2 / 380e3, rel=0.03)
    assert max(longest.needs, key=lambda name: longest.needs[name]) == "flash"
    names = {lever.name for lever in _estimate(_flash_bound, "stm32n6570-dk@2.2").bottlenecks().levers}
    assert "weights of 4 bits" not in names, "not before core 3.0"


def test_a_lever_gives_what_the_changed_model_is_predicted_with() -> None:
    """Two ways to one number: the lever of the slow model, and the difference to a model that is fast."""

    def net(zero: int) -> object:
        return lambda b: b.conv(b.conv(b.input(1, 32, 56, 56), 32, 64, 3, zero=zero), 64, 64, 3, zero=-128)

    slow, fast = _estimate(net(3)), _estimate(net(-128))
    difference = slow.costs.latency.milliseconds - fast.costs.latency.milliseconds
    lever = next(lever for lever in slow.bottlenecks().levers if lever.name.startswith("zero points"))
    first_layer = next(c for c in slow.costs.epochs if c.bound == "compute")
    assert difference > 0.3 * first_layer.microseconds / 1000
    assert lever.gain >= difference * 0.98 and "zero_points=speed" in lever.how
    assert not [one for one in fast.bottlenecks().longest if one.lever == lever.name and one.epoch == 3]


def test_activations_on_the_chip() -> None:
    def wide(b: QdqBuilder) -> str:
        return b.conv(b.conv(b.input(1, 8, 512, 512), 8, 16), 16, 8)

    found = _estimate(wide)
    why = found.bottlenecks()
    assert found.costs.memory.external > 0 and max(why.milliseconds, key=lambda n: why.milliseconds[n]) == "external"
    lever = next(lever for lever in why.levers if lever.name == "activations on the chip")
    small = replace(load_target(KIT), pools=tuple(
        replace(pool, size=64 << 20) if pool.name == "cpuRAM2" else pool for pool in load_target(KIT).pools
    ))  # fmt: skip
    builder = QdqBuilder("net")
    builder.output(wide(builder))
    inside = estimate(builder.model(), small)
    assert inside.costs.memory.external == 0
    difference = found.costs.latency.milliseconds - inside.costs.latency.milliseconds
    assert lever.gain == pytest.approx(difference, rel=0.05)


def test_the_epoch_controller_is_a_lever_only_where_it_is_off() -> None:
    off = _estimate(_flash_bound, epoch_controller=False).bottlenecks()
    on = _estimate(_flash_bound).bottlenecks()
    assert "epoch controller" in {lever.name for lever in off.levers}
    assert "epoch controller" not in {lever.name for lever in on.levers}


def test_in_the_facts_as_plain_data() -> None:
    known = _estimate(_flash_bound).facts()["latency"]["bottlenecks"]
    assert known["longest"][0]["bound"] == "flash" and isinstance(known["longest"], list)
    assert {"name", "gain", "how"} == set(known["levers"][0])


@pytest.mark.parametrize("shape", [(1, 3, 64, 96), (1, 128, 1, 64)])
def test_a_smaller_input_is_said_in_its_own_terms(shape: tuple[int, int, int, int]) -> None:
    why = _estimate(lambda b: b.conv(b.input(*shape), shape[1], 32, 1, zero=-128)).bottlenecks()
    lever = next(lever for lever in why.levers if lever.name.startswith("an input of half"))
    picture = min(shape[2:]) > 1
    assert lever.name == f"an input of half the {'pixels' if picture else 'length'}"
    assert ("about 45x68 instead of 64x96" in lever.how) == picture


def test_edges_join_epochs_that_share_a_tensor() -> None:
    """By hand: 1 is read by 2 and, across it, by the sum."""

    def skip(b: QdqBuilder) -> str:
        first = b.conv(b.input(1, 16, 8, 8), 16, 16, 3, zero=-128)
        last = b.conv(b.conv(first, 16, 16, 3, zero=-128), 16, 16, 3, zero=-128)
        return b.op("Add", first, last)

    found = _estimate(skip)
    epochs = {epoch.id: epoch for epoch in found.schedule.epochs}
    edges = set(found.placement.edges)
    wrote = {name: epoch.id for epoch in epochs.values() for name in epoch.outputs}
    shared = {(wrote[n], e.id) for e in epochs.values() for n in e.inputs if n in wrote}
    assert edges == shared and any(b - a > 1 for a, b in edges)
    assert all(a < b for a, b in edges)
    bounds = {operator.epoch: operator.bound for operator in found.placement.operators}
    assert bounds == {cost.id: cost.waits_for or None for cost in found.costs.epochs}


def test_a_picture_with_channels_last_is_a_picture(data_dir: Path) -> None:
    found = estimate(data_dir / "weights/st_movenet_lightning_heatmaps_192_int8_pc.tflite", "stm32n6570-dk@2.1")
    lever = next(lever for lever in found.bottlenecks().levers if lever.name.startswith("an input of half"))
    assert "136x136 instead of 192x192" in lever.how
