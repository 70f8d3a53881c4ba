"""What is trained, in what ties, and that the file gets back exactly what torch computed with."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")

from n6convert.quantization import QuantizationConfig, QuantizationResult, quantize  # noqa: E402
from n6convert.tuning.agreement import agreement  # noqa: E402
from n6convert.tuning.parameters import Parameters  # noqa: E402
from n6convert.tuning.program import Program  # noqa: E402
from n6convert.tuning.scale_groups import ScaleGroups  # noqa: E402

from .nets import cnn, deep, feeds  # noqa: E402

SAMPLES = feeds((1, 3, 16, 16), 4)


def made(model: ir.Model, shape: tuple[int, ...], weights: str = "int8") -> tuple[QuantizationResult, Parameters]:
    result = quantize(model, feeds(shape, 6), QuantizationConfig(weights=weights, threads=1))
    assert result.prepared is not None
    return result, Parameters(result.model, result.prepared)


def numbers(model: ir.Model) -> dict[str, np.ndarray]:
    return {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_untouched_numbers_are_those_of_the_file(weights: str) -> None:
    result, parameters = made(cnn(), (1, 3, 16, 16), weights)
    before, after = numbers(result.model), numbers(parameters.written())
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert after[name].dtype == array.dtype
        np.testing.assert_allclose(after[name].astype(np.float64), array.astype(np.float64), rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_changed_numbers_give_the_same_codes_in_the_file(weights: str) -> None:
    result, parameters = made(cnn(), (1, 3, 16, 16), weights)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for leaf in parameters.leaves.values():
            leaf.add_(0.2 * torch.randn(leaf.shape, generator=draw))
    parameters.limit()
    written = parameters.written()
    found = agreement(Program(result.model), parameters.state(), written, list(SAMPLES()))
    assert found.codes > 10_000 and found.differing <= found.codes * 1e-4 and found.largest <= 1
    assert [n.op_type for n in written.graph] == [n.op_type for n in result.model.graph]
    changed = [n for n, a in numbers(written).items() if not np.array_equal(a, numbers(result.model)[n])]
    assert any(n.endswith("_quantized") for n in changed) and not any("zero_point" in n for n in changed)


def test_scales_of_what_is_only_moved_stay_together() -> None:
    result, _ = made(cnn(), (1, 3, 16, 16))
    assert result.prepared is not None
    groups = ScaleGroups(result.model.graph, result.prepared.graph)
    assert groups.members["r_scale"] == groups.members["p_scale"] == groups.members["c_scale"]
    trained = {name for name, group in groups.members.items() if group in groups.trained}
    assert "r_scale" in trained and "e_scale" in trained
    fixed = {"x_scale", "y_scale", "up_scale", "s_scale", "dr_scale"}  # input, outputs, Sigmoid, Clip
    assert fixed <= set(groups.members) and not trained & fixed


@pytest.mark.parametrize("bits", ["int8", "int4"])
def test_weights_start_on_the_chosen_codes_as_near_to_float_as_these_allow(bits: str) -> None:
    result, parameters = made(deep(), (1, 3, 12, 12), bits)
    assert result.prepared is not None
    held, spread, layers = numbers(result.model), [], 0
    exact = {n.name: n.inputs[1].const_value.numpy() for n in result.prepared.graph if n.op_type == "Conv"}
    for node in result.model.graph:
        if node.op_type != "Conv":
            continue
        name = node.inputs[1].producer().inputs[0].name
        leaf = next(leaf for n, leaf in parameters.leaves.items() if n in (f"weight/{name}", f"narrow/{name}"))
        places, layers = leaf.detach().numpy(), layers + 1
        np.testing.assert_array_equal(np.round(places), held[name].astype(np.float32))
        steps = exact[node.name] / held[name.replace("_quantized", "_scale")].reshape(-1, 1, 1, 1)
        near = np.abs(steps - places) < 1e-4
        assert np.all(near | (np.abs(places - np.round(places)) > 0.44)) and near.mean() > 0.5
        spread.append((places - np.round(places)).std())
    assert layers >= 4 and min(spread) > 0.2, "not all in the middle: they would come to the next code together"


def test_another_scale_of_a_channel_rounds_no_weight_anew() -> None:
    result, parameters = made(deep(), (1, 3, 12, 12), "int4")
    with torch.no_grad():
        parameters.leaves["spread/w1_quantized"].add_(0.3)
    before, after = numbers(result.model), numbers(parameters.written())
    np.testing.assert_array_equal(after["w1_quantized"], before["w1_quantized"])
    np.testing.assert_allclose(after["w1_scale"], before["w1_scale"] * np.exp(0.3), rtol=1e-6)
    steps = before["b1_quantized"].astype(np.float64) * before["b1_quantized_scale"]
    half = float(after["b1_quantized_scale"].max()) / 2
    np.testing.assert_allclose(after["b1_quantized"] * after["b1_quantized_scale"], steps, atol=1.01 * half)
