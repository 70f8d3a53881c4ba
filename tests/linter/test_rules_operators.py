"""Boundaries of the limits of operators: the last graph that keeps each, and the first that breaks it."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from n6convert.linter import Finding
from n6convert.linter.rules_operators import slice_parts

Lint = Callable[..., list[Finding]]

BIG = 2**31 - 1


def _ints(name: str, values: object) -> str:
    found = np.ravel(np.array(values, np.int64)).tolist()
    return f"int64[{len(found)}] {name} = {{{', '.join(map(str, found))}}}"


def _slice(axes: list[int], starts: list[int], ends: list[int]) -> str:
    constants = ", ".join([_ints("a", starts), _ints("b", ends), _ints("c", axes)])
    return f"<{constants}> {{ y = Slice (x, a, b, c) }}"


@pytest.mark.parametrize(
    ("axes", "starts", "ends", "found"),
    [
        ([1, 2, 3], [1, 1, 1], [3, 5, 5], []),
        ([0, 1, 2, 3], [0, 1, 1, 1], [1, 3, 5, 5], []),
        ([0, 1, 2, 3], [1, 1, 1, 1], [2, 3, 5, 5], ["slice on the batch dimension", "slice on 4 axes"]),
        ([-4], [1], [2], ["slice on the batch dimension"]),
        ([-1], [1], [2], []),
    ],
)
def test_axes_count_where_they_cut(
    axes: list[int], starts: list[int], ends: list[int], found: list[str], broken: Lint
) -> None:
    """A whole axis that is listed costs nothing: the first of the four covers a batch of one."""
    batch = 2 if found else 1
    hits = broken("slice-axes", _slice(axes, starts, ends), inputs=f"float[{batch},4,8,8] x")
    assert [hit.found for hit in hits] == found
    assert all(hit.node == "Slice 'y'" and str(hit.severity) == "error" for hit in hits)


def test_bounds_that_are_computed(broken: Lint) -> None:
    body = "<int64[1] a={1}, int64[1] c={1}> { s = Shape <start=1, end=2> (z) y = Slice (x, a, s, c) }"
    (hit,) = broken("slice-axes", body, inputs="float[1,4,8,8] x, float[1,N] z")
    assert hit.found == "bounds computed at run time" and "constants" in hit.remedy


@pytest.mark.parametrize(("bound", "found"), [(65_535, 0), (65_536, 1), (BIG, 1), (-65_536, 1), (-65_535, 0)])
def test_bounds_beyond_any_dimension_are_sentinels(bound: int, found: int, broken: Lint) -> None:
    assert len(broken("slice-sentinels", _slice([2], [1], [bound]))) == found


@settings(max_examples=60)
@given(data=st.data())
def test_parts_of_a_slice_give_what_onnx_gives(data: st.DataFn) -> None:
    """Written as numpy's slices, the parts select the same values as ONNX's reference."""
    x = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    axes = data.draw(st.lists(st.sampled_from([0, 1, 2, -1, -2]), min_size=1, max_size=2, unique_by=lambda a: a % 3))
    given = data.draw(st.booleans()) or axes != sorted(range(len(axes)))
    steps = [data.draw(st.sampled_from([1, 2, -1])) for _ in axes]
    starts = [data.draw(st.integers(0, 3)) for _ in axes]
    ends = [data.draw(st.integers(0, 7)) for _ in axes]
    names = ["x", "starts", "ends", *(["axes", "steps"] if given else ["", "steps"])]
    inits = {"starts": starts, "ends": ends, "axes": axes, "steps": steps}
    node = helper.make_node("Slice", names, ["y"])
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", 7, x.shape)], [helper.make_tensor_value_info("y", 7, None)],
        [numpy_helper.from_array(np.array(v), k) for k, v in inits.items() if k in names],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    parts = slice_parts(next(iter(ir.from_proto(model).graph)))
    assert parts is not None
    index = [slice(None)] * 3
    for axis, start, end, step in zip(*parts, strict=True):
        index[axis] = slice(start, end, step)
    (reference,) = ReferenceEvaluator(model).run(None, {"x": x})
    assert np.array_equal(x[tuple(index)], reference)


def test_parts_of_the_old_form() -> None:
    text = '<ir_version: 4, opset_import: ["" : 9]> g (float[1,4,8] x) => (float y) { y = Slice <%s> (x) }'
    node = next(iter(ir.from_onnx_text(text % "starts=[1,2], ends=[3,4]").graph))
    assert slice_parts(node) == ((0, 1), (1, 2), (3, 4), (1, 1))
    node = next(iter(ir.from_onnx_text(text % "axes=[2], starts=[1], ends=[3]").graph))
    assert slice_parts(node) == ((2,), (1,), (3,), (1,))


# convolutions and pools -----------------------------------------------------------------------------------------------


def _conv(kernel: tuple[int, int], **attributes: list[int]) -> str:
    size = 4 * kernel[0] * kernel[1]
    more = "".join(f", {key}=[{', '.join(map(str, value))}]" for key, value in attributes.items())
    shape = f"float[1,4,{kernel[0]},{kernel[1]}]"
    ones = ", ".join(["1"] * size)
    return f"<{shape} w = {{{ones}}}> {{ y = Conv <kernel_shape=[{kernel[0]}, {kernel[1]}]{more}> (x, w) }}"


@pytest.mark.parametrize(
    ("kernel", "attributes", "words"),
    [
        ((8, 8), {}, None),
        ((9, 8), {}, "kernel [9, 8]"),
        ((8, 9), {}, "kernel [8, 9]"),
        ((10, 9), {"pads": [1, 0, 1, 1]}, None),
        ((10, 10), {"pads": [1, 0, 1, 1]}, "kernel [10, 10]"),
        ((3, 3), {"dilations": [3, 3]}, None),
        ((3, 3), {"dilations": [4, 3]}, "kernel [3, 3]"),
        ((3, 3), {"strides": [8, 8]}, None),
        ((3, 3), {"strides": [1, 9]}, "strides [1, 9]"),
        ((3, 3), {"strides": [10, 1], "pads": [1, 0, 1, 0]}, None),
        ((3, 3), {"strides": [11, 1], "pads": [1, 0, 1, 0]}, "strides [11, 1]"),
    ],
)
def test_kernels_and_strides_over_a_map_of_8x8(
    kernel: tuple[int, int], attributes: dict[str, list[int]], words: str | None, broken: Lint
) -> None:
    hits = broken("conv-geometry", _conv(kernel, **attributes))
    assert [words in hit.found for hit in hits] == ([True] if words else [])


def test_three_dimensions(broken: Lint) -> None:
    body = "{ y = MaxPool <kernel_shape=[1,1,1]> (x) }"
    (hit,) = broken("conv-geometry", body, inputs="float[1,4,2,8,8] x")
    assert hit.found == "3-D MaxPool"


def test_automatic_pads_make_room(broken: Lint) -> None:
    body = '{ y = MaxPool <kernel_shape=[9,9], auto_pad="%s"> (x) }'
    assert broken("conv-geometry", body % "SAME_UPPER") == []
    assert len(broken("conv-geometry", body % "VALID")) == 1


# products ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "found"), [("1,4,4", []), ("1,2,4,4", ["rank 4"])])
def test_rank_of_a_product(shape: str, found: list[str], broken: Lint) -> None:
    hits = broken("matmul-rank", "{ y = MatMul (x, x) }", inputs=f"float[{shape}] x")
    assert [hit.found for hit in hits] == found


def test_a_product_of_constants_is_no_work(broken: Lint) -> None:
    ones = ", ".join(["1"] * 16)
    body = f"<float[1,1,4,4] a = {{{ones}}}> {{ m = MatMul (a, a) y = Add (x, m) }}"
    assert broken("matmul-rank", body, inputs="float[1,1,4,4] x") == []
    assert broken("two-activations", body, inputs="float[1,1,4,4] x") == []


def test_both_operands_decide(broken: Lint) -> None:
    ones = ", ".join(["1"] * 16)
    weights = f"<float[4,4] w = {{{ones}}}>"
    for left, right in itertools.product("xw", repeat=2):
        hits = broken("two-activations", f"{weights} {{ m = MatMul ({left}, {right}) y = Add (m, x) }}", "float[4,4] x")
        assert len(hits) == (left == right == "x")


@pytest.mark.parametrize(
    ("bias", "found"), [("", []), (", c", []), (", x", ["an activation as bias"]), (", r", ["an activation as bias"])]
)
def test_the_bias_of_a_gemm(bias: str, found: list[str], broken: Lint) -> None:
    body = f"<float[2,2] w = {{1,2,3,4}}, float[2] c = {{1,2}}> {{ r = Relu (x) s = Gemm (x, w{bias}) y = Add (s, r) }}"
    assert [hit.found for hit in broken("gemm-bias", body, "float[1,2] x")] == found


# Resize ---------------------------------------------------------------------------------------------------------------


def _resize(**attributes: str) -> str:
    given = ", ".join(f'{key}="{value}"' for key, value in attributes.items())
    return f"<float[4] s = {{1,1,2,2}}> {{ y = Resize <{given}> (x, , s) }}"


_BEST = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({}, []),
        ({"mode": "linear"}, ["linear, asymmetric"]),
        ({"coordinate_transformation_mode": "half_pixel"}, ["nearest, half_pixel, floor"]),
        ({"nearest_mode": "ceil"}, ["nearest, asymmetric, ceil"]),
    ],
)
def test_one_form_of_resize_is_free(change: dict[str, str], found: list[str], broken: Lint) -> None:
    assert [hit.found for hit in broken("resize-on-cpu", _resize(**_BEST | change))] == found


def test_defaults_of_onnx_are_taken(broken: Lint) -> None:
    """Without attributes Resize is nearest, half_pixel, round_prefer_floor."""
    (hit,) = broken("resize-on-cpu", "<float[4] s = {1,1,2,2}> { y = Resize (x, , s) }")
    assert hit.found == "nearest, half_pixel, round_prefer_floor"


@pytest.mark.parametrize("mode", ["half_pixel_symmetric", "tf_crop_and_resize"])
def test_refused_coordinates(mode: str, broken: Lint) -> None:
    body = _resize(**_BEST | {"coordinate_transformation_mode": mode})
    if mode == "tf_crop_and_resize":
        body = body.replace("(x, , s)", "(x, roi, s)").replace(
            "<float[4] s", "<float[8] roi = {0,0,0,0,1,1,1,1}, float[4] s"
        )
    (hit,) = broken("resize-modes", body, opset=19)
    assert hit.found == mode and str(hit.severity) == "error"


def test_several_faults_of_one_resize_are_one_finding(broken: Lint) -> None:
    body = _resize(mode="cubic").replace('mode="cubic"', 'mode="cubic", antialias=1')
    (hit,) = broken("resize-modes", body, opset=18)
    assert hit.found == "mode cubic, antialias"


# the rest -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("perm", "found"), [("0,3,1,2", []), ("1,0,2,3", ["perm [1, 0, 2, 3]"])])
def test_the_batch_stays_in_front(perm: str, found: list[str], broken: Lint) -> None:
    hits = broken("transpose-batch", f"{{ y = Transpose <perm = [{perm}]> (x) }}")
    assert [hit.found for hit in hits] == found


def test_a_transpose_without_perm_reverses(broken: Lint) -> None:
    (hit,) = broken("transpose-batch", "{ y = Transpose (x) }")
    assert hit.found == "perm [3, 2, 1, 0]"


@pytest.mark.parametrize("axis", [0, -4])
def test_the_batch_by_either_name(axis: int, broken: Lint) -> None:
    assert [hit.found for hit in broken("concat-batch", f"{{ y = Concat <axis={axis}> (x, x) }}")] == [f"axis {axis}"]
    assert broken("concat-batch", "{ y = Concat <axis=-3> (x, x) }") == []
    assert len(broken("concat-batch", "{ y = Concat <axis=0> (x, x) }", "float[1,4] x")) == 1
    assert broken("concat-batch", "{ y = Concat <axis=0> (x, x) }", "float[4] x") == [], "a row has no batch"


def test_a_bound_from_a_constant_node_is_only_a_warning(broken: Lint) -> None:
    body = "<float a={0.0}> { %s y = Clip (x, a, b) }"
    (hit,) = broken("clip-bounds", body % "b = Constant <value_float = 6.0> ()")
    assert str(hit.severity) == "warning" and hit.tensor == "b"
    (hit,) = broken("clip-bounds", body % "b = ReduceMax <keepdims=0> (x)")
    assert str(hit.severity) == "error"
    assert broken("clip-bounds", "<float b={6.0}> { y = Clip (x, , b) }") == [], "an absent bound is none"


@pytest.mark.parametrize(("rank", "found"), [(5, 0), (6, 1)])
def test_rank_of_a_scatter(rank: int, found: int, broken: Lint) -> None:
    shape = ",".join(["1"] * (rank - 1) + ["4"])
    body = f"<int64[1,{rank}] i = {{{', '.join(['0'] * rank)}}}, float[1] u = {{1}}> {{ y = ScatterND (x, i, u) }}"
    hits = [h for h in broken("refused-operators", body, inputs=f"float[{shape}] x") if "rank" in h.found]
    assert len(hits) == found


def test_a_constant_of_the_same_shape_may_stand_on_the_left(broken: Lint) -> None:
    """Only a constant that repeats makes the subtraction software."""
    assert broken("constant-minus", "<float[1,2] c = {1,2}> { y = Sub (c, x) }", inputs="float[1,2] x") == []
    (hit,) = broken("constant-minus", "<float[1] c = {1}> { y = Sub (c, x) }", inputs="float[1,2] x")
    assert hit.tensor == "c"


def test_a_slope_behind_a_dequantization_is_quantized(broken: Lint) -> None:
    good = "<int8[4,1,1] a={1,2,3,4}, float s={0.1}, int8 z={0}> { d = DequantizeLinear (a, s, z) y = PRelu (x, d) }"
    assert broken("prelu-slope", good) == []
    assert len(broken("prelu-slope", "{ y = PRelu (x, x) }")) == 1


def test_a_node_without_name_is_called_by_its_output(broken: Lint) -> None:
    (unnamed,) = broken("constant-minus", "<float c = {1}> { y = Sub (c, x) }")
    (named,) = broken("constant-minus", "<float c = {1}> { [rest] y = Sub (c, x) }")
    assert (unnamed.node, named.node) == ("Sub 'y'", "Sub 'rest'")
