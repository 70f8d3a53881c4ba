"""What the self-test allows: the steps that rounding leaves free, and no fault."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.package.ports import read_ports
from n6convert.package.tolerance import rounding_tolerances, with_free_rounding
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.session import run_model

from ..quantization.nets import cnn, feeds

SHAPE = (1, 3, 16, 16)


@pytest.fixture(scope="module")
def int8() -> ir.Model:
    plain = {"ranges": "minmax", "equalization": False, "bias_correction": "off", "rounding": "nearest"}
    return quantize(cnn(), feeds(SHAPE), QuantizationConfig(**plain)).model


def fits(model: ir.Model, found: dict[str, np.ndarray], sample: dict[str, np.ndarray]) -> bool:
    """As the C code decides."""
    _, outputs = read_ports(model)
    expected = run_model(model, sample)
    for port, limit in zip(outputs, rounding_tolerances(model, outputs, sample, expected), strict=True):
        gaps = np.abs(port.to_board(found[port.name]).astype(int) - port.to_board(expected[port.name]))
        if gaps.max() > limit.largest or gaps.sum() > limit.total:
            return False
    return True


def test_rounding_passes_and_faults_do_not(int8: ir.Model) -> None:
    for sample in feeds(SHAPE, 3, seed=5)():
        for seed in range(40, 50):
            assert fits(int8, run_model(with_free_rounding(int8, seed), sample), sample), seed
        assert not fits(int8, run_model(int8, {"x": sample["x"][:, ::-1].copy()}), sample), "channels reversed"
        assert not fits(int8, run_model(int8, {"x": sample["x"].swapaxes(2, 3).copy()}), sample), "turned"
        assert not fits(int8, run_model(_saturated(int8), sample), sample), "large weights cut off"


def test_limits_come_from_models_with_free_rounding(int8: ir.Model) -> None:
    """Four patterns in one session give what four models with a pattern each give."""
    sample, (_, outputs) = next(feeds(SHAPE, 1, seed=5)()), read_ports(int8)
    expected = run_model(int8, sample)
    found = [run_model(with_free_rounding(int8, seed), sample) for seed in range(4)]
    for port, limit in zip(outputs, rounding_tolerances(int8, outputs, sample, expected), strict=True):
        exact = port.to_board(expected[port.name]).astype(int)
        gaps = [np.abs(port.to_board(f[port.name]) - exact) for f in found]
        assert limit.largest == np.ceil(1.5 * max(g.max() for g in gaps)) + 1
        assert limit.total == np.ceil(1.5 * max(g.sum() for g in gaps)) + 1


def _saturated(model: ir.Model) -> ir.Model:
    other = model.clone()
    for name, value in other.graph.initializers.items():
        codes = value.const_value.numpy()
        if codes.dtype == np.int8 and codes.ndim == 4:
            value.const_value = ir.tensor(np.clip(codes, -64, 63), name=name)
    return other


def test_as_many_results_turn_as_boards_were_seen_to_turn(int8: ir.Model) -> None:
    sample, share = next(feeds(SHAPE, 1, seed=5)()), []
    first = _first_layer(int8)
    for seed in range(20):
        exact, moved = (run_model(m, sample)["ar"] for m in (first, with_free_rounding(first, seed)))
        gaps = np.rint(np.abs(exact - moved) / _scale(int8))
        assert gaps.max() <= 1
        share.append(np.mean(gaps[exact > 0]))
    assert np.mean(share) == pytest.approx(0.0625, rel=0.15)


def _first_layer(model: ir.Model) -> ir.Model:
    copy = model.clone()
    copy.graph.outputs.clear()
    copy.graph.outputs.append(next(v for n in copy.graph for v in n.outputs if v.name == "ar_DequantizeLinear_Output"))
    copy.graph.outputs[0].name = "ar"
    next(v for n in copy.graph for v in n.outputs if v.name == "ar" and n.op_type == "Conv").name = "ar_float"
    return copy


def _scale(model: ir.Model) -> float:
    return float(model.graph.initializers["ar_scale"].const_value.numpy())
