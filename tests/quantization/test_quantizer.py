"""The quantizer as a whole: every operator INT8, in the form that ST Edge AI reads."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from n6convert.errors import QuantizationError
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model

from .nets import cnn, feeds, parse
from .walk import float_islands

SAMPLES = feeds((1, 3, 16, 16))


def constant_of(value: ir.Value | None) -> np.ndarray:
    assert value is not None and value.const_value is not None
    return value.const_value.numpy()


@pytest.fixture(scope="module")
def int8() -> ir.Model:
    return quantize(cnn(), SAMPLES, QuantizationConfig(ranges="minmax")).model


def test_no_float_island(int8: ir.Model) -> None:
    assert float_islands(int8) == []


def test_the_walk_finds_islands() -> None:
    assert float_islands(cnn())


def test_model_is_valid_and_of_the_asked_form(int8: ir.Model) -> None:
    onnx.checker.check_model(ir.to_proto(int8), full_check=True)
    assert int8.ir_version == 8
    assert 13 <= int8.opset_imports[""] <= 17
    assert [v.name for v in int8.graph.outputs] == ["y", "up"]
    assert int8.graph.inputs[0].dtype == ir.DataType.FLOAT


def test_weights_are_symmetric_per_channel_and_bias_int32(int8: ir.Model) -> None:
    axes = {"Conv": 0, "ConvTranspose": 1, "Gemm": 0}
    seen = set()
    for node in int8.graph:
        if node.op_type not in axes:
            continue
        x, w, b = (v.producer() for v in node.inputs)
        assert w.attributes["axis"].value == axes[node.op_type]
        assert constant_of(w.inputs[0]).dtype == np.int8
        assert not constant_of(w.inputs[2]).any()
        assert constant_of(b.inputs[0]).dtype == np.int32
        expected = constant_of(x.inputs[1]) * constant_of(w.inputs[1])
        np.testing.assert_allclose(constant_of(b.inputs[1]), expected, rtol=1e-6)
        seen.add(node.op_type)
    assert seen == set(axes)


def test_relu_and_clip_are_replaced_by_saturation(int8: ir.Model) -> None:
    assert not {"Relu", "Clip"} & {n.op_type for n in int8.graph}


def test_values_that_are_only_moved_keep_their_grid() -> None:
    model = parse(
        """net (float[1,4,8,8] x) => (float[1,8,4,4] y) {
          a = Relu(x)
          p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
          t = Transpose<perm=[0,1,3,2]>(p)
          y = Concat<axis=1>(t, p)
        }"""
    )
    result = quantize(model, feeds((1, 4, 8, 8)), QuantizationConfig(ranges="minmax"))
    grids = {(t["scale"], t["zero_point"]) for t in result.facts["tensors"] if t["name"] != "x"}
    assert len(grids) == 1


def test_a_small_operand_of_a_concat_keeps_a_fine_grid_for_its_other_reader() -> None:
    body = """net (float[1,4,8,8] x) => (float[1,8,8,8] y, float[1,4,8,8] z) {
      s = Mul(x, tiny)
      b = Mul(x, big)
      y = Concat<axis=1>(s, b)
      z = Neg(s)
    }"""
    model = parse(body, tiny=np.array(0.01, np.float32), big=np.array(10.0, np.float32))
    result = quantize(model, feeds((1, 4, 8, 8)), QuantizationConfig(ranges="minmax"))
    scale = {t["name"]: t["scale"] for t in result.facts["tensors"]}
    assert scale["b"] == scale["y"] and scale["s"] < scale["y"] / 100


def test_close_to_float(int8: ir.Model) -> None:
    sample = next(iter(feeds((1, 3, 16, 16), seed=9)()))
    reference, other = run_model(cnn(), sample), run_model(int8, sample)
    for name, value in reference.items():
        assert sqnr_db(value, other[name]) > 20, name


def test_same_input_same_bytes(int8: ir.Model) -> None:
    again = quantize(cnn(), SAMPLES, QuantizationConfig(ranges="minmax")).model
    assert ir.to_proto(again).SerializeToString() == ir.to_proto(int8).SerializeToString()


def test_model_given_is_left_alone() -> None:
    model = cnn()
    before = ir.to_proto(model).SerializeToString()
    quantize(model, SAMPLES)
    assert ir.to_proto(model).SerializeToString() == before


def test_quantized_model_is_refused(int8: ir.Model) -> None:
    with pytest.raises(QuantizationError, match="quantized already"):
        quantize(int8, SAMPLES)


def test_operator_without_int8_form_is_refused_by_name() -> None:
    model = parse(
        "net (float[1,4] x) => (float[1,2] y, int64[1,2] i) { k = Constant<value_ints=[2]>() y, i = TopK(x, k) }"
    )
    with pytest.raises(QuantizationError, match="no INT8 form") as caught:
        quantize(model, feeds((1, 4)))
    assert caught.value.found == "TopK" and caught.value.remedy


def test_symbolic_batch_becomes_one_and_other_symbols_are_refused() -> None:
    model = parse("net (float[N,4] x) => (float[N,4] y) { y = Relu(x) }")
    assert list(quantize(model, feeds((1, 4))).model.graph.inputs[0].shape) == [1, 4]
    model = parse("net (float[1,L] x) => (float[1,L] y) { y = Relu(x) }")
    with pytest.raises(QuantizationError, match="dynamic shape"):
        quantize(model, feeds((1, 4)))


def test_nan_is_refused_with_the_tensor_and_the_sample() -> None:
    model = parse("net (float[1,4] x) => (float[1,4] y) { y = Log(x) }")
    with pytest.raises(QuantizationError, match="not finite") as caught:
        quantize(model, feeds((1, 4)))
    assert "tensor y, sample 0" in str(caught.value)


def test_no_samples_are_refused() -> None:
    with pytest.raises(QuantizationError, match="no calibration samples"):
        quantize(cnn(), lambda: iter(()))


def test_a_clip_behind_a_convolution_cut_in_parts_costs_no_levels() -> None:
    """The parts' codes are those of the whole: the Clip becomes their grid, through Concat and MaxPool."""
    weight = np.random.default_rng(0).standard_normal((8, 3, 1, 1)).astype(np.float32)
    whole = parse(
        """net (float[1,3,8,8] x) => (float[1,8,4,4] y) { low = Constant<value_float=0.0>()
        high = Constant<value_float=1.5>() a = Conv(x, w) p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a)
        y = Clip(p, low, high) }""",
        w=weight,
    )
    parts = parse(
        """net (float[1,3,8,8] x) => (float[1,8,4,4] y) { low = Constant<value_float=0.0>()
        high = Constant<value_float=1.5>() a = Conv(x, w1) b = Conv(x, w2) c = Concat<axis=1>(a, b)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c) y = Clip(p, low, high) }""",
        w1=weight[:3],
        w2=weight[3:],
    )
    config = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")
    results = [quantize(model, feeds((1, 3, 8, 8)), config).model for model in (whole, parts)]
    for int8 in results:
        assert "Clip" not in {n.op_type for n in int8.graph} and float_islands(int8) == []
    for sample in feeds((1, 3, 8, 8), seed=1)():
        a, b = (run_model(model, sample)["y"] for model in results)
        assert np.array_equal(a, b) and a.max() == pytest.approx(1.5)


def test_a_clip_stays_where_its_input_is_read_elsewhere() -> None:
    model = parse(
        """net (float[1,3,8,8] x) => (float[1,4,8,8] y, float[1,2,8,8] z) { a = Conv(x, w1) b = Conv(x, w2)
        c = Concat<axis=1>(a, b) y = Relu(c) z = Neg(a) }""",
        w1=np.full((2, 3, 1, 1), 0.5, np.float32),
        w2=np.full((2, 3, 1, 1), -0.5, np.float32),
    )
    config = QuantizationConfig(ranges="minmax", equalization=False, bias_correction=False, rounding="nearest")
    int8 = quantize(model, feeds((1, 3, 8, 8)), config).model
    assert "Relu" in {n.op_type for n in int8.graph}
    sample = next(iter(feeds((1, 3, 8, 8), seed=2)()))
    assert np.abs(run_model(int8, sample)["z"] - run_model(model, sample)["z"]).max() < 0.05


@pytest.mark.parametrize("pad", ["Pad(a, four)", "Pad(a, two, zero, axes)", 'Pad<mode="edge">(a, two, , axes)'])
def test_a_pad_of_a_newer_opset(pad: str) -> None:
    """Exporters write opset 18 by default, whose Pad may name its axes; ONNX's converter has no way back."""
    numbers = {
        "four": np.array([0, 0, 1, 2, 0, 0, 0, 1]), "two": np.array([2, 1, 1, 0]), "axes": np.array([3, -2]),
        "zero": np.array(0, np.float32),
    }  # fmt: skip
    used = {n: v for n, v in numbers.items() if f" {n}" in pad}
    model = parse(f"net (float[1,4,6,6] x) => (float y) {{ a = Relu(x)  b = {pad}  y = Relu(b) }}", 19, **used)
    result = quantize(model, feeds((1, 4, 6, 6)), QuantizationConfig(ranges="minmax")).model
    assert result.opset_imports == {"": 17}
    sample = next(iter(feeds((1, 4, 6, 6))()))
    assert sqnr_db(run_model(model, sample)["y"], run_model(result, sample)["y"]) > 30


@pytest.mark.parametrize("split", ["Split<axis=1, num_outputs=2>(a)", "Split<axis=1>(a, sizes)"])
@pytest.mark.parametrize("opset", [18, 20])
def test_a_split_of_a_newer_opset(split: str, opset: int) -> None:
    """ONNX's converter has no way back for it."""
    sizes = {"sizes": np.array([2, 2])} if "sizes" in split else {}
    body = f"net (float[1,4,8,8] x) => (float[1,2,8,8] y) {{ a = Relu(x)  b, c = {split}  y = Sub(b, c) }}"
    model = parse(body, opset, **sizes)
    result = quantize(model, feeds((1, 4, 8, 8)), QuantizationConfig(ranges="minmax")).model
    assert result.opset_imports == {"": 17}
    sample = next(iter(feeds((1, 4, 8, 8))()))
    assert sqnr_db(run_model(model, sample)["y"], run_model(result, sample)["y"]) > 30
