"""Small instances of the networks of ``benchmarks/bench_methods.py``, built to be hard, on samples nobody saw."""

from __future__ import annotations

from importlib import import_module
from itertools import islice
from types import ModuleType

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.quantization import QuantizationConfig, quantize
from n6convert.quantization.fidelity import Evaluator
from n6convert.quantization.prepare.prepare import prepare
from n6convert.rewrites import RewriteConfig, rewrite

from .walk import float_islands

MINMAX = QuantizationConfig(ranges="minmax", equalization=False, bias_correction="off", rounding="nearest")


@pytest.fixture(scope="module")
def hard() -> ModuleType:
    """The module that builds the networks."""
    return import_module("nets.trained_like")


def built(hard: ModuleType, case: str, seed: int = 0) -> onnx.ModelProto:
    build, _, small = hard.CASES[case]
    return build(**small, seed=seed)


CASES = ["mobilenetv3-small", "vit-tiny", "mobilevit-xxs"]


@pytest.mark.parametrize("case", CASES)
def test_the_default_recipe_is_never_worse_than_min_max(hard: ModuleType, case: str) -> None:
    model = ir.from_proto(built(hard, case))
    pictures = hard.images(64, hard.CASES[case][2]["size"], seed=1)
    samples = [{"image": p} for p in pictures]
    seen, held_back, unseen = samples[:24], samples[24:40], samples[40:]
    evaluator = Evaluator(prepare(model), unseen)
    plain, ours = (
        quantize(model, lambda: iter(seen), config, held_back=lambda: iter(held_back))
        for config in (MINMAX, QuantizationConfig())
    )
    assert float_islands(ours.model) == []
    assert evaluator.fidelity(ours.model).sqnr_db >= evaluator.fidelity(plain.model).sqnr_db - 0.1
    assert any(m["kept"] for m in ours.facts["methods"][1:]), "a hard case that no method helps is none"


@pytest.mark.parametrize("case", CASES)
def test_the_networks_are_valid_seeded_and_uneven(hard: ModuleType, case: str) -> None:
    assert set(CASES) == set(hard.CASES)
    proto = built(hard, case)
    onnx.checker.check_model(proto, full_check=True)
    assert proto.SerializeToString() == built(hard, case).SerializeToString()
    assert proto.SerializeToString() != built(hard, case, seed=1).SerializeToString()
    peaks = []
    for tensor in proto.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        if array.ndim == 4 and array.dtype == np.float32:
            largest = np.abs(array).max(axis=(1, 2, 3))
            peaks.append(largest.max() / np.median(largest))
    assert case == "vit-tiny" or np.median(peaks) > 2


@pytest.mark.parametrize(("name", "least"), [("power-law", 22), ("log-mel", 27)])
def test_signals_reach_what_eight_bits_at_the_input_allow(hard: ModuleType, name: str, least: float) -> None:
    """|spectrum|^0.3 and log(mel): their INT8 inputs alone leave 26 to 27 dB, min-max ranges 8 and 9 dB of them.

    Bias correction takes away a part of what the input's rounding does.
    """
    from nets.signals import SIGNALS

    build, signals = SIGNALS[name]
    samples = [{"x": x} for x in islice(signals(1), 64)]
    model = rewrite(ir.from_proto(build()), lambda: iter(samples[:2]), RewriteConfig()).model
    ours = quantize(model, lambda: iter(samples[:32]), held_back=lambda: iter(samples[32:48]))
    assert float_islands(ours.model) == []
    assert Evaluator(prepare(model), samples[48:]).score(ours.model) > least
