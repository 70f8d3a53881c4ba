"""Where single operators run, per compiler version, on graphs of one operator."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from nets.qdq import QdqBuilder
from onnx_text import parsed

from n6convert.npu.ends import Ends
from n6convert.npu.estimation import estimate
from n6convert.npu.ir import Op, Where
from n6convert.npu.placement import place, printed, read, report
from n6convert.npu.rules.limits import VERSIONS

Build = Callable[[QdqBuilder], str]


def _ops(build: Build, version: tuple[int, int] = (2, 1), quantized: bool = True) -> list[Op]:
    builder = QdqBuilder("one", opset=18 if quantized else 17, quantized=quantized)
    builder.output(build(builder))
    lowered, _ = place(read(builder.model()), version, ends=Ends(output_channels="chlast"))
    return lowered.ops


def _off(build: Build, version: tuple[int, int] = (2, 1)) -> dict[str, int]:
    """Operators that do not run on the NPU alone."""
    ops = _ops(build, version)
    return dict(Counter(printed(op, version) for op in ops if op.where in (Where.SW, Where.HYBRID)))


def _image(b: QdqBuilder, channels: int = 16, size: int = 16) -> str:
    return b.conv(b.input(1, channels, size, size), channels, channels)


def _unary(kind: str) -> Build:
    return lambda b: b.op(kind, _image(b))


def _scaled(shape: tuple[int, ...], side: int = 7) -> Build:
    """A normalization in front of a convolution: a product and a sum with constants of a shape."""

    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 16, side, side), 16, shape[1])
        return b.op("Add", b.op("Mul", x, b.weight(*shape)), b.weight(*shape))

    return build


@pytest.mark.parametrize(
    ("channels", "side", "version", "software"),
    [(1024, 7, (3, 0), 4), (1024, 7, (2, 1), 4), (1024, 7, (4, 0), 0), (512, 7, (3, 0), 0), (1024, 1, (3, 0), 0)],
)
def test_constants_of_many_channels_are_software_before_4(
    channels: int, side: int, version: tuple[int, int], software: int
) -> None:
    """ResNet50v2 on 3.0: one float island of a product and a sum; not above a vector, where nothing repeats."""
    off = _off(_scaled((1, channels, 1, 1), side), version)
    kinds = {name.removesuffix("(float)"): number for name, number in off.items()}
    island = {"Mul": 1, "Add": 1, "DequantizeLinear": 1, "QuantizeLinear": 1}
    assert sum(kinds.values()) == software and (not software or kinds == island)


@pytest.mark.parametrize(("mode", "software"), [("constant", {}), ("reflect", {"Pad": 1}), ("edge", {"Pad": 1})])
def test_a_mirrored_border_is_not_folded_into_the_convolution(mode: str, software: dict[str, int]) -> None:
    def build(b: QdqBuilder) -> str:
        pads = b.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        return b.conv(b.op("Pad", _image(b), pads, mode=mode), 16, 8, 3)

    assert _off(build, (4, 0)) == software


def _concat(b: QdqBuilder, sizes: tuple[int, ...], axis: int = 1, side: int = 16) -> str:
    x = b.input(1, 8, side, side)
    return b.op("Sigmoid", b.op("Concat", *(b.conv(x, 8, size, 3) for size in sizes), axis=axis))


def _transpose(shape: tuple[int, ...], perm: list[int]) -> Build:
    return lambda b: b.op("Transpose", b.op("Sigmoid", b.input(*shape)), perm=perm)


def _binary(kind: str, left: tuple[int, ...], right: tuple[int, ...]) -> Build:
    def build(b: QdqBuilder) -> str:
        first, second = b.input(*left, name="left"), b.input(*right, name="right")
        return b.op(kind, b.op("Sigmoid", first), b.op("Sigmoid", second))

    return build


def _const_minus(b: QdqBuilder) -> str:
    return b.op("Sub", b.weight(128), b.op("Sigmoid", b.input(1, 30, 128)))


def _resize(mode: str, coordinates: str) -> Build:
    def build(b: QdqBuilder) -> str:
        scales = b.constant(np.array([1, 1, 2, 2], np.float32))
        return b.op(
            "Resize",
            _image(b),
            "",
            scales,
            mode=mode,
            coordinate_transformation_mode=coordinates,
            nearest_mode="floor",
        )

    return build


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "HardSwish", "LeakyRelu", "Exp", "Erf", "Sqrt", "Neg"])
@pytest.mark.parametrize("version", VERSIONS)
def test_unary_functions_run_on_the_npu(kind: str, version: tuple[int, int]) -> None:
    assert _off(_unary(kind), version) == {}


@pytest.mark.parametrize("kind", ["Reciprocal", "Log", "Elu", "Softplus", "Ceil", "Floor"])
def test_float_functions_are_wrapped_in_conversions(kind: str) -> None:
    assert _off(_unary(kind)) == {"DequantizeLinear": 1, kind: 1, "QuantizeLinear": 1}


def test_float_kernels_are_marked_from_3_0() -> None:
    assert "Log(float)" in _off(_unary("Log"), (4, 0))
    assert "Log" in _off(_unary("Log"), (2, 2))


def test_one_quantize_for_every_consumer_of_a_float_operator() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Log", _image(b))
        return b.op("Add", b.op("Sigmoid", x), b.op("Tanh", x))

    assert _off(build) == {"DequantizeLinear": 1, "Log": 1, "QuantizeLinear": 2}


def test_neighboring_float_operators_share_their_island() -> None:
    assert _off(lambda b: b.op("Ceil", b.op("Log", _image(b)))) == {
        "DequantizeLinear": 1,
        "Log": 1,
        "Ceil": 1,
        "QuantizeLinear": 1,
    }


def test_a_missing_pair_makes_the_operator_float() -> None:
    def build(b: QdqBuilder) -> str:
        mean = b.op("ReduceMean", _image(b), axes=[2, 3], keepdims=1, pair=False)
        return b.conv(b.reshape(mean, 1, 16, 1, 1), 16, 8)

    assert _off(build, (2, 2)) == {"DequantizeLinear": 1, "GlobalAveragePool": 1, "QuantizeLinear": 1}


@pytest.mark.parametrize("switches", [frozenset(), frozenset({"expand-softmax"})])
def test_an_expanded_softmax_is_three_epochs_that_it_shares_with_nothing(switches: frozenset[str]) -> None:
    builder = QdqBuilder("one")
    x = builder.op("Sigmoid", builder.input(1, 4, 30, 30))
    builder.output(builder.op("Add", builder.op("Softmax", x), x))
    lowered, plan = place(read(builder.model()), (4, 0), switches)
    softmax = [op for op in lowered.ops if op.kind == "Softmax"]
    epochs = [epoch.printed for epoch in plan.epochs if "Softmax" in epoch.printed]
    assert {op.where for op in softmax} == {Where.HW if switches else Where.SW}
    assert epochs == ["Softmax"] * (3 if switches else 1)
    assert (report(plan, (4, 0)).offload == 1) is bool(switches)


def test_a_softmax_in_float_is_not_expanded() -> None:
    builder = QdqBuilder("one", quantized=False)
    builder.output(builder.op("Softmax", builder.input(1, 4, 30, 30)))
    lowered, _ = place(read(builder.model()), (4, 0), frozenset({"expand-softmax"}))
    assert [op.where for op in lowered.ops if op.kind == "Softmax"] == [Where.SW]


def test_softmax_is_software_in_int8() -> None:
    for version in VERSIONS:
        assert _off(lambda b: b.op("Softmax", b.op("Sigmoid", b.input(1, 4, 30, 30))), version) == {"Softmax": 1}


@pytest.mark.parametrize(
    ("sizes", "side", "version", "expected"),
    [
        ((16, 16), 16, (2, 1), {}),
        ((16, 16, 16), 16, (4, 0), {}),
        ((16, 48), 16, (2, 1), {"Concat": 1}),
        ((16, 48), 16, (2, 2), {"Concat": 1}),
        ((16, 40), 16, (4, 0), {"Concat": 1}),
        ((16, 48), 16, (4, 0), {"Concat": 1}),
        ((64, 128), 14, (4, 0), {}),
        ((64, 128), 7, (4, 0), {"Concat": 1}),
    ],
)
def test_concat_of_channels(
    sizes: tuple[int, ...], side: int, version: tuple[int, int], expected: dict[str, int]
) -> None:
    assert _off(lambda b: _concat(b, sizes, side=side), version) == expected


def test_unequal_concat_is_hybrid_from_3_0() -> None:
    concat = next(op for op in _ops(lambda b: _concat(b, (16, 40)), (4, 0)) if op.kind == "Concat")
    assert concat.where is Where.HYBRID
    assert concat.rewrite == "concat-conv-split"


def test_concat_on_the_innermost_axis_is_software() -> None:
    assert _off(lambda b: _concat(b, (16, 16), axis=3)) == {"Concat": 1}


def test_concat_on_the_outermost_axis_is_free_of_the_cpu() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("Concat", b.op("Sigmoid", b.input(1, 4, 90)), b.op("Tanh", b.input(1, 80, 90, name="b")), axis=1)

    assert _off(build) == {}


@pytest.mark.parametrize(
    ("shape", "perm", "version", "expected"),
    [
        ((1, 8, 8, 16), [0, 3, 1, 2], (2, 1), Where.HW),
        ((1, 16, 8, 8), [0, 2, 3, 1], (4, 0), Where.HW),
        ((1, 30, 128), [0, 2, 1], (2, 2), Where.HW),
        ((1, 30, 4, 32), [0, 2, 1, 3], (2, 2), Where.SW),
        ((1, 30, 4, 32), [0, 2, 1, 3], (4, 0), Where.HYBRID),
        ((1, 16, 4, 32), [0, 3, 2, 1], (2, 1), Where.SW),
        ((1, 1, 4, 32), [0, 2, 1, 3], (2, 1), Where.NONE),
        ((1, 30, 1, 32), [0, 3, 1, 2], (2, 1), Where.HW),
    ],
)
def test_transposes(shape: tuple[int, ...], perm: list[int], version: tuple[int, int], expected: Where) -> None:
    ops = _ops(_transpose(shape, perm), version)
    moved = [op for op in ops if op.kind in ("Transpose", "Reshape") and op.sources]
    assert moved[-1].where is expected


@pytest.mark.parametrize("kind", ["Add", "Mul", "Sub"])
def test_one_sided_broadcast_stays_on_the_npu(kind: str) -> None:
    assert _off(_binary(kind, (1, 30, 128), (1, 30, 1))) == {}
    assert _off(_binary(kind, (1, 30, 128), (1, 1, 128))) == {}


def test_repeated_first_operand_of_a_difference_is_software() -> None:
    assert _off(_const_minus) == {"Sub": 1}
    assert _off(_binary("Sub", (1, 30, 1), (1, 30, 128))) == {"Sub": 1}
    assert _off(_binary("Add", (1, 30, 1), (1, 30, 128))) == {}


def test_two_sided_broadcast_is_software_and_summed_on_the_npu() -> None:
    ops = _ops(_binary("Mul", (1, 30, 1), (1, 1, 128)))
    assert [(op.kind, op.where) for op in ops if op.kind in ("Mul", "Add")] == [
        ("Mul", Where.SW),
        ("Add", Where.HW),
    ]


def test_division() -> None:
    assert _off(_binary("Div", (1, 30, 128), (1, 30, 128))) == {"Div": 1}
    assert _off(lambda b: b.op("Div", b.op("Sigmoid", b.input(1, 30, 128)), b.weight(1))) == {}


def test_resizes() -> None:
    assert _off(_resize("nearest", "asymmetric"), (2, 1)) == {"DepthToSpace": 1}
    assert _off(_resize("nearest", "half_pixel"), (2, 1)) == {"Resize": 1}
    assert _off(_resize("linear", "asymmetric"), (4, 0)) == {"Resize": 1}


def test_prelu_with_a_float_slope_is_one_software_operator() -> None:
    slope = np.zeros((16, 1, 1), np.float32)
    assert _off(lambda b: b.op("PRelu", _image(b), b.constant(slope))) == {"PRelu": 1}
    assert _off(lambda b: b.op("PRelu", _image(b), b.weight(16, 1, 1))) == {}


@pytest.mark.parametrize(
    ("version", "keras", "fused"),
    [((2, 0), False, False), ((2, 1), False, True), ((3, 0), True, False), ((3, 0), False, True), ((4, 0), True, True)],
)
def test_swish_is_one_node_from_2_1_and_in_exports_of_keras_from_4_0(
    version: tuple[int, int], keras: bool, fused: bool
) -> None:
    def build(b: QdqBuilder) -> str:
        x = _image(b)
        y = b.op("Mul", x, b.op("Sigmoid", x))
        return b.op("Mul", y, b.conv(_mean(b, y, dropped=keras), 16, 16))

    ops = _ops(build, version)
    kinds = [op.kind for op in ops]
    assert ("Swish" in kinds) == fused == ("Sigmoid" not in kinds)
    wide = [name for op in ops for name in op.outputs if "product" in name]
    assert len(wide) == int(not fused), "up to 3.0 the product of both is kept in 16 bits"


def _mean(b: QdqBuilder, x: str, dropped: bool) -> str:
    mean = b.op("GlobalAveragePool", x)
    if not dropped:
        return mean
    return b.op("Reshape", b.op("Reshape", mean, b.constant(np.array([1, 16]))), b.constant(np.array([1, 16, 1, 1])))


@pytest.mark.parametrize(("version", "software"), [((3, 0), True), ((4, 0), False)])
@pytest.mark.parametrize("dropped", [True, False])
def test_a_mean_that_drops_its_map_for_a_gate_is_software_up_to_3_0(
    version: tuple[int, int], software: bool, dropped: bool
) -> None:
    """Squeeze and excitation as Keras exports it; with the map kept (PyTorch) it never leaves the NPU."""

    def build(b: QdqBuilder) -> str:
        x = _image(b)
        return b.op("Mul", x, b.op("Sigmoid", b.conv(_mean(b, x, dropped), 16, 16)))

    off = _off(build, version)
    assert off == ({"GlobalAveragePool": 1} if software and dropped else {}), "int8: no float copy of the map"


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_a_mean_that_gates_nothing_stays_on_the_npu(version: tuple[int, int]) -> None:
    """The pooled branch of DeepLab (r18): its mean goes through a Reshape, but multiplies no map."""
    assert _off(lambda b: b.conv(_mean(b, _image(b), dropped=True), 16, 8), version) == {}


def test_a_7x7_with_stride_2_keeps_its_three_rows_in_16_bits() -> None:
    """Published memory on 3.0: six bytes for every output of the stem (resnet18, squeezenet 1.0, SqueezeNext)."""
    builder = QdqBuilder("stem")
    builder.output(builder.conv(builder.input(1, 3, 64, 64), 3, 16, 7, stride=2))
    lowered, plan = place(read(builder.model()), (3, 0))
    written = [lowered.tensors[name] for name in plan.epochs[1].outputs]
    assert [(tensor.dtype, tensor.shape[1]) for tensor in written] == [("int16", 16)] * 3


@pytest.mark.parametrize(("version", "sums"), [((2, 2), 2), ((3, 0), 2), ((4, 0), 3)])
def test_the_last_sum_of_a_7x7_takes_three_maps_and_leaves_the_scaling_of_a_pool(
    version: tuple[int, int], sums: int
) -> None:
    """r13: three epochs of a map each on 2.2 (142, 133, 132 us), then one of 1 us; DLA's spilled bytes on 3.0 agree."""

    def build(b: QdqBuilder) -> str:
        return b.op("GlobalAveragePool", b.conv(b.input(1, 3, 64, 64), 3, 32, 7))

    builder = QdqBuilder("stem")
    builder.output(build(builder))
    _, plan = place(read(builder.model()), version)
    kinds = ["+".join(op.kind for op in epoch.ops) for epoch in plan.epochs]
    start = kinds.index("Conv")
    assert kinds[start:] == ["Conv", *["Add"] * (sums - 1), "Add+GlobalAveragePool", "Mul"]
    assert len(plan.epochs[start + sums].ops[0].inputs) == 3 and len(plan.epochs[start].outputs) == sums + 2


def test_relu_behind_a_convolution_vanishes() -> None:
    assert [op.kind for op in _ops(lambda b: b.op("Relu", _image(b), zero=-128))] == ["Identity", "Conv"]


def test_convolution_with_computed_weights_is_software() -> None:
    def build(b: QdqBuilder) -> str:
        weights = b.op("Sigmoid", b.input(8, 16, 1, 1, name="w"))
        return b.op("Conv", _image(b), weights, kernel_shape=[1, 1])

    assert _off(build) == {"Conv": 1}


def test_product_of_activations_is_one_software_convolution_for_each_head() -> None:
    def build(b: QdqBuilder) -> str:
        left, right = b.input(1, 4, 30, 32, name="q"), b.input(1, 4, 32, 30, name="k")
        return b.op("MatMul", b.op("Sigmoid", left), b.op("Sigmoid", right))

    ops = _ops(build, (2, 2))
    assert Counter(op.kind for op in ops if op.where is Where.SW) == {"Conv": 4}
    assert sum(op.macs for op in ops) == 4 * 30 * 30 * 32
    assert [op.kind for op in ops][-1] == "Concat"


def test_linear_layers_share_the_layout_of_their_input() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Sigmoid", b.input(1, 30, 128))
        return b.op("Add", b.op("MatMul", x, b.weight(128, 64)), b.op("MatMul", x, b.weight(128, 64)))

    kinds = Counter(op.kind for op in _ops(build))
    assert kinds["Conv"] == 2
    assert kinds["Identity"] == 1


def test_single_row_needs_no_layout() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("Gemm", b.op("Sigmoid", b.input(1, 128)), b.weight(10, 128), transB=1)

    assert [op.kind for op in _ops(build)] == ["Sigmoid", "Conv", "Reshape"]


def test_large_pool_is_padded_and_decomposed() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("MaxPool", _image(b), kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1])

    kinds = [op.kind for op in _ops(build)]
    assert kinds[-3:] == ["Conv", "MaxPool", "MaxPool"]


def test_global_depthwise_convolution_of_7x7_leaves_three_float_parts() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.conv(b.input(1, 32, 7, 7), 32, 32)
        return b.op("Conv", x, b.weight(32, 1, 7, 7), kernel_shape=[7, 7], group=32)

    assert _off(build) == {"DequantizeLinear": 3, "Conv": 3, "Cast": 3}


def test_transposed_convolution_costs_two_software_epochs() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("ConvTranspose", _image(b), b.weight(16, 8, 2, 2), kernel_shape=[2, 2], strides=[2, 2])

    assert _off(build) == {"Concat": 1, "DepthToSpace": 1}


def test_padding_is_folded_or_a_convolution() -> None:
    spatial = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    channels = np.array([0, 4, 0, 0, 0, 4, 0, 0])

    def before_conv(b: QdqBuilder) -> str:
        padded = b.op("Pad", _image(b), b.constant(spatial))
        return b.op("Conv", padded, b.weight(8, 16, 3, 3), kernel_shape=[3, 3])

    assert Counter(op.kind for op in _ops(before_conv))["Conv"] == 2
    assert _off(lambda b: b.op("Pad", _image(b), b.constant(spatial))) == {}
    assert _off(lambda b: b.op("Pad", _image(b), b.constant(channels))) == {"Transpose": 2}


def test_layer_normalization_as_one_operator() -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Sigmoid", b.input(1, 30, 128))
        return b.op("LayerNormalization", x, b.weight(128), b.weight(128))

    assert _off(build, (2, 2)) == {"DequantizeLinear": 1, "LayerNormalization": 1, "QuantizeLinear": 1}
    found = _off(build, (4, 0))
    assert found["Reciprocal(float)"] == 1 and found["GlobalAveragePool(float)"] == 2
    assert found["DequantizeLinear"] == 2, "mean and difference both read the input"


def test_power_depends_on_the_version() -> None:
    def build(b: QdqBuilder) -> str:
        return b.op("Pow", b.op("Sigmoid", b.input(1, 30, 128)), b.weight(1))

    assert _off(build, (4, 0)) == {}
    assert _off(build, (3, 0)) == {"DequantizeLinear": 1, "Pow(float)": 1, "QuantizeLinear": 1}


def test_unknown_operators_run_in_float_and_say_so() -> None:
    ops = _ops(lambda b: b.op("ReduceL2", b.op("Sigmoid", b.input(1, 30, 128)), axes=[2], keepdims=1))
    assert next(op for op in ops if op.kind == "ReduceL2").float
    mish = next(op for op in _ops(lambda b: b.op("Mish", b.op("Sigmoid", b.input(1, 30, 128)))) if op.kind == "Mish")
    assert mish.float and "not in ST's tables" in mish.reason


@pytest.mark.parametrize("version", VERSIONS)
def test_float_models_run_in_software_altogether(version: tuple[int, int]) -> None:
    def build(b: QdqBuilder) -> str:
        x = b.op("Relu", _image(b))
        return b.op("Transpose", b.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2]), perm=[0, 2, 3, 1])

    ops = _ops(build, version, quantized=False)
    assert ops and {op.where for op in ops} == {Where.SW}


def test_casts_of_wide_types_are_software() -> None:
    ops = _ops(lambda b: b.op("Cast", b.op("Sigmoid", b.input(1, 30, 128)), to=1, pair=False))
    assert next(op for op in ops if op.kind == "Cast").where is Where.SW


def test_every_operator_says_why_and_on_what_evidence() -> None:
    for op in _ops(lambda b: b.op("Softmax", _concat(b, (16, 48)))):
        assert op.rule and op.reason and op.evidence
        if op.where is Where.SW:
            assert op.remedy


def test_report_counts_and_shares() -> None:
    builder = QdqBuilder("counts")
    builder.output(builder.op("Softmax", _concat(builder, (16, 48))))
    _, plan = place(read(builder.model()), (2, 1))
    found = report(plan, (2, 1))
    assert found.sw_ops == {"Concat": 1, "Softmax": 1}
    assert found.epochs.total == found.epochs.hw + found.epochs.hybrid + found.epochs.sw
    assert found.offload == found.epochs.hw / found.epochs.total
    assert found.mac_share == 1.0
    assert found.blobs == len(plan.blobs)


SCALARS = {
    "padded vector": ("y = Pad(x, p)", "float[1,10] x", [0, 1, 0, 2]),
    "padded vector by axis": ("y = Pad(x, q, , a)", "float[1,10] x", None),
    "padded list": ("y = Pad(x, q)", "float[10] x", None),
    "sum of scalars": ("s = ReduceSum<keepdims=0>(x) y = Mul(s, t)", "float[1,10] x, float t", None),
    "scalars alone": ("s = Add(t, t) u = Sub(s, t) y = Add(u, s)", "float t, float[1,10] x", None),
    "scaled by one": ("s = ReduceMean<keepdims=0>(x) y = Mul(x, s)", "float[1,10] x", None),
    "clipped scalar": ("s = ReduceMax<keepdims=0>(x) r = Relu(s) y = Exp(r)", "float[1,10] x", None),
    "turned vector": ("y = Transpose(x)", "float[1,10] x", None),
    "joined scalars": ("s = ReduceMax<keepdims=0>(x) u = Unsqueeze(s, z) y = Concat<axis=0>(u, u)",
    "float[1,10] x", None),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("quantized", [False, True])
def test_vectors_and_single_numbers_are_placed(name: str, quantized: bool) -> None:
    body, inputs, pads = SCALARS[name]
    numbers = {"p": pads or [0, 1, 0, 2], "q": [1, 2], "a": [1], "z": [0]}
    model = parsed(body, inputs, "float[] y", 18, **{k: np.array(v, np.int64) for k, v in numbers.items()})
    for version in VERSIONS:
        found = estimate(model, f"stm32n6570-dk@{version[0]}.{version[1]}", assume_quantized=quantized)
        assert bool(found.placement.operators) == (found.costs.latency.milliseconds > 0) == (name != "turned vector")
