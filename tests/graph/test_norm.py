"""Normalizations in every spelling: what is found computes what the graph computes; what is none is not found."""

from __future__ import annotations

import itertools

import numpy as np
import onnx_ir as ir
import pytest
from onnx_text import Array, drawn, node_of, parsed, value_of

from n6convert.graph.builder import Builder
from n6convert.graph.patterns.norm import Norm, find_norm
from n6convert.runtime.session import run_model

EPSILON = 0.37  # large, so that another one would be seen
GAMMA, BETA = (np.random.default_rng(i).standard_normal(6).astype(np.float32) + 1 for i in (0, 1))
SPELLINGS = {
    "square": "q = Mul(c, c)",
    "power": "q = Pow(c, two)",
}
ENDS = {
    "div": "s = Sqrt(e) n = Div(c, s)",
    "reciprocal": "s = Sqrt(e) r = Reciprocal(s) n = Mul(r, c)",
    "one over": "s = Sqrt(e) r = Div(one, s) n = Mul(c, r)",
}
TAILS = {"bare": ("", "n"), "scale": ("g = Mul(n, gamma)", "g"), "both": ("g = Mul(gamma, n) b = Add(beta, g)", "b")}


def spelled(
    square: str, end: str, tail: str, centered: bool = True, axes: str = "-1", shape: str = "1,4,6"
) -> ir.Model:
    head = f"m = ReduceMean<axes=[{axes}]>(x) c = Sub(x, m)" if centered else "c = Identity(x)"
    body = f"{head} {SPELLINGS[square]} v = ReduceMean<axes=[{axes}]>(q) e = Add(v, eps) {ENDS[end]} {TAILS[tail][0]}"
    wide = (6, 1, 1) if axes == "1" and shape.count(",") == 3 else (6,)
    return parsed(body, f"float[{shape}] x", f"float[] {TAILS[tail][1]}", eps=EPSILON, two=2.0, one=1.0,
                  gamma=GAMMA.reshape(wide), beta=BETA.reshape(wide))  # fmt: skip


def normalized(norm: Norm, x: Array) -> Array:
    """By its own words: the docstring's formula in double precision."""
    x = x.astype(np.float64)
    mean = x.mean(norm.axis, keepdims=True) if norm.centered else 0.0
    scaled = (x - mean) / np.sqrt(((x - mean) ** 2).mean(norm.axis, keepdims=True) + norm.epsilon)
    along = [-1 if i == norm.axis else 1 for i in range(x.ndim)]
    gamma, beta = (np.asarray(v if v is not None else 0.0) for v in (norm.gamma, norm.beta))
    gamma, beta = (v.reshape(along) if v.ndim else v for v in (gamma, beta))
    return np.asarray(scaled * gamma + beta)


def holds(model: ir.Model) -> Norm:
    """What is found at the graph's output, after it gave the graph's own numbers."""
    output = model.graph.outputs[0]
    maker = output.producer()
    assert maker is not None
    found = find_norm(maker)
    assert found is not None
    feeds = drawn({"x": found.shape})
    np.testing.assert_allclose(
        run_model(model, feeds)[str(output.name)], normalized(found, feeds["x"]), rtol=1e-4, atol=1e-5
    )
    return found


@pytest.mark.parametrize(("square", "end", "tail"), list(itertools.product(SPELLINGS, ENDS, TAILS)))
@pytest.mark.parametrize("axes", ["-1", "2"])
def test_layer_norm_in_every_spelling(square: str, end: str, tail: str, axes: str) -> None:
    found = holds(spelled(square, end, tail, axes=axes))
    assert found.centered and found.axis == 2 and (found.channels, found.rows) == (6, 4)
    assert isinstance(found.gamma, np.ndarray) == (tail != "bare") and (found.beta is not None) == (tail == "both")


@pytest.mark.parametrize("tail", TAILS)
def test_over_channels_of_a_map(tail: str) -> None:
    found = holds(spelled("square", "div", tail, axes="1", shape="1,6,3,5"))
    assert (found.axis, found.channels, found.rows) == (1, 6, 15)


@pytest.mark.parametrize("tail", ["scale", "both"])
def test_the_inner_part_of_a_longer_form_is_not_found_alone(tail: str) -> None:
    model = spelled("square", "div", tail)
    inner = [n for n in model.graph if find_norm(n) is not None]
    assert [n.outputs[0] for n in inner] == [model.graph.outputs[0]]


def test_without_a_mean_it_is_rms() -> None:
    model = parsed("q = Mul(x, x) v = ReduceMean<axes=[-1]>(q) e = Add(v, eps) s = Sqrt(e) n = Div(x, s)",
                   "float[1,4,6] x", "float[] n", eps=EPSILON)  # fmt: skip
    assert not holds(model).centered


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("turned", [True, False])
def test_the_form_of_tensorflow(scaled: bool, turned: bool) -> None:
    """x * s + (beta - mean * s)."""
    end = "r = Reciprocal(d) s = Mul(r, gamma)" if scaled else "s = Reciprocal(d)"
    last = "y = Add(b, a)" if turned else "y = Add(a, b)"
    body = f"""m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[-1]>(q) e = Add(v, eps)
        d = Sqrt(e) {end} a = Mul(x, s) t = Mul(m, s) b = Sub(beta, t) {last}"""
    holds(parsed(body, "float[1,4,6] x", "float[] y", eps=EPSILON, gamma=GAMMA, beta=BETA))


@pytest.mark.parametrize("opset", [17, 23])
def test_as_one_operator(opset: int) -> None:
    model = parsed("y = LayerNormalization<axis=-1, epsilon=0.37>(x, gamma, beta)", "float[1,4,6] x", "float[] y",
                   opset, gamma=GAMMA, beta=BETA)  # fmt: skip
    assert holds(model).epsilon == pytest.approx(EPSILON)
    plain = parsed("y = LayerNormalization(x, gamma)", "float[1,4,6] x", "float[] y", opset, gamma=GAMMA)
    found = holds(plain)
    assert found.epsilon == pytest.approx(1e-5) and found.beta is None


NONE = {
    "over two axes": "m = ReduceMean<axes=[1,2]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[1,2]>(q) "
    "e = Add(v, eps) s = Sqrt(e) y = Div(c, s)",
    "the square of something else": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Mul(c, x) "
    "v = ReduceMean<axes=[-1]>(q) e = Add(v, eps) s = Sqrt(e) y = Div(c, s)",
    "a cube": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Pow(c, three) v = ReduceMean<axes=[-1]>(q) "
    "e = Add(v, eps) s = Sqrt(e) y = Div(c, s)",
    "no root": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[-1]>(q) "
    "e = Add(v, eps) y = Div(c, e)",
    "root over it": "m = ReduceMean<axes=[-1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[-1]>(q) "
    "e = Add(v, eps) s = Sqrt(e) y = Div(s, c)",
    "two over the root": "q = Mul(x, x) v = ReduceMean<axes=[-1]>(q) e = Add(v, eps) s = Sqrt(e) r = Div(two, s) "
    "y = Mul(x, r)",
    "an axis in the middle": "m = ReduceMean<axes=[1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[1]>(q) "
    "e = Add(v, eps) s = Sqrt(e) y = Div(c, s)",
    "epsilon by channel": "q = Mul(x, x) v = ReduceMean<axes=[-1]>(q) e = Add(v, gamma) s = Sqrt(e) y = Div(x, s)",
    "gone axes": "q = Mul(x, x) v = ReduceMean<axes=[-1], keepdims=0>(q) e = Add(v, eps) s = Sqrt(e) y = Div(x, s)",
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_none(name: str) -> None:
    shape = "6,6" if name == "gone axes" else "1,4,6"  # square, so that the wrong broadcast is valid
    model = parsed(NONE[name], f"float[{shape}] x", "float[] y", eps=EPSILON, two=2.0, three=3.0, gamma=GAMMA)
    maker = model.graph.outputs[0].producer()
    assert maker is not None and find_norm(maker) is None


def test_moments_over_other_axes_than_the_mean_are_no_layer_norm() -> None:
    """Centered over the rows, divided by the root over the columns: RMS of what was centered."""
    body = """m = ReduceMean<axes=[1]>(x) c = Sub(x, m) q = Mul(c, c) v = ReduceMean<axes=[-1]>(q)
        e = Add(v, eps) s = Sqrt(e) y = Div(c, s)"""
    found = find_norm(node_of(parsed(body, "float[1,4,6] x", "float[] y", eps=EPSILON), "Div"))
    assert found is not None and not found.centered and found.x.name == "c"


@pytest.mark.parametrize("name", ["gamma", "beta"])
def test_a_constant_across_the_axis_ends_the_form(name: str) -> None:
    """A scale by row is no gamma; it follows the normalization, which is found without it."""
    model = spelled("square", "div", "both")
    rows = ir.tensor(np.arange(1, 5, dtype=np.float32).reshape(4, 1), name=name)
    model.graph.initializers[name].const_value, model.graph.initializers[name].shape = rows, ir.Shape([4, 1])
    found = [n.outputs[0].name for n in model.graph if find_norm(n) is not None]
    assert found == (["n"] if name == "gamma" else ["g"])


def test_a_use_of_the_inner_form_elsewhere_keeps_both() -> None:
    model = spelled("square", "div", "both")
    model.graph.outputs.append(value_of(model, "n"))
    assert [n.outputs[0].name for n in model.graph if find_norm(n) is not None] == ["n", "b"]


@pytest.mark.parametrize(
    ("axes", "shape"),
    [("-1", "1,4,6"), ("1", "1,6,3,5"), ("-1", "1,20,6"), ("-1", "1,1,6"), ("-1", "5,6"), ("-1", "1,6")],
)
def test_channels_first_and_back_is_the_same(axes: str, shape: str) -> None:
    model = spelled("square", "div", "bare", axes=axes, shape=shape)
    norm = holds(model)
    build = Builder(model.graph, "b", 17)
    first = norm.to_channel_first(build)
    back = norm.from_channel_first(build, build.unary("Relu", first))
    model.graph.extend(build.nodes)
    model.graph.outputs.extend([first, back])
    feeds = drawn({"x": norm.shape})
    found = run_model(model, feeds)
    np.testing.assert_array_equal(found[str(back.name)], np.maximum(feeds["x"], 0))
    as_map = found[str(first.name)]
    assert as_map.shape[:2] == (1, 6) and as_map.shape[3] <= 16
    np.testing.assert_array_equal(as_map.reshape(6, -1), np.moveaxis(feeds["x"], norm.axis, 0).reshape(6, -1))


def test_a_scale_that_widens_the_result_is_no_gamma() -> None:
    """[1, 4, 1] times [6] is [1, 4, 6]: more than a normalization of x."""
    model = spelled("square", "div", "scale", centered=False, shape="1,4,1")
    assert [n.outputs[0].name for n in model.graph if find_norm(n) is not None] == ["n"]
