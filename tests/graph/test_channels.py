"""What the channels of a convolution pass through on the way to the next: zeros may be added there, or nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx_text import node_of, parsed, value_of

from n6convert.graph.patterns.channels import FollowedChannels, followed_channels, is_depthwise
from n6convert.graph.patterns.concat import unequal_concat

SIX = {
    "w": np.ones((6, 3, 1, 1), np.float32),
    "d": np.ones((6, 1, 3, 3), np.float32),
    "v": np.ones((2, 6, 1, 1), np.float32),
    "k": np.ones((6, 1, 1), np.float32),
    "s": np.float32([2]),
    "q": np.ones((6, 3, 1, 1), np.float32),
}


def followed(body: str, outputs: str = "float[] y", more_inputs: str = "", **constants: Any) -> FollowedChannels | None:
    model = parsed(f"c = Conv(x, w) {body}", f"float[1,3,8,8] x{more_inputs}", outputs, **(SIX | constants))
    maker = value_of(model, "c").producer()
    assert maker is not None
    return followed_channels(maker)


def test_everything_between_two_products() -> None:
    """Activation, depthwise convolution, constants by channel and a pool; one more product writes the other operand."""
    found = followed("""r = Relu(c) z = Conv<group=6, pads=[1,1,1,1]>(r, d) m = Mul(z, k) o = Conv(x, q) a = Add(m, o)
        p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(a) t = Mul(p, s) y = Conv(t, v)""")  # fmt: skip
    assert found is not None and found.count == 6
    assert {v.name for v in found.values} == set("crzmoapt")
    assert [n.op_type for n in found.makers] == ["Conv", "Conv"] and [n.outputs[0].name for n in found.readers] == ["y"]
    assert {n.outputs[0].name for n in found.others} == set("zmat")


def test_a_gate_of_one_channel_is_no_part() -> None:
    found = followed("g = Conv(x, one) h = Sigmoid(g) m = Mul(c, h) y = Conv(m, v)", one=np.ones((1, 3, 1, 1)))
    assert found is not None and {v.name for v in found.values} == {"c", "m"}


@pytest.mark.parametrize(("body", "why"), [
    ("y = Relu(c)", "an output of the graph has the size that it has"),
    ("r = Exp(c) y = Conv(r, v)", "exp(0) is 1, not 0, and an operator that is not known to keep channels apart"),
    ("r = Softmax<axis=1>(c) y = Conv(r, v)", "mixes channels"),
    ("r = Transpose<perm=[0,1,3,2]>(c) y = Conv(r, v)", "is not followed"),
    ("r = Concat<axis=1>(c, c) y = Conv(r, vv)", "joins channels"),
    ("r = Reshape(c, flat) y = MatMul(r, mm)", "folds channels into the map"),
    ("y = Conv<group=2>(c, half)", "a grouped product counts channels"),
    ("y = Conv(c, open)", "weights that are computed"),
])  # fmt: skip
def test_where_no_channel_can_be_added(body: str, why: str) -> None:
    more = {"vv": np.ones((2, 12, 1, 1)), "mm": np.ones((384, 2)), "half": np.ones((2, 3, 1, 1))}
    more["flat"] = np.array([1, 384])
    inputs = ", float[2,6,1,1] open" if "open" in body else ""
    assert followed(body, "float[] y", inputs, **more) is None, why


@pytest.mark.parametrize("count", [8, 16, 24, 6, 12, 20, 7])
def test_only_awkward_numbers_are_followed(count: int) -> None:
    weight, last = np.ones((count, 3, 1, 1)), np.ones((2, count, 1, 1))
    assert (followed("y = Conv(c, l)", w=weight.astype(np.float32), l=last) is None) == (count % 8 == 0)


def test_what_is_read_as_a_weight_is_no_activation() -> None:
    """The channels of ``c`` are the kernel's own sides there."""
    model = parsed("c = Conv(x, w) y = Conv(z, c)", "float[1,3,8,8] x, float[1,6,9,9] z", "float[] y", **SIX)
    assert followed_channels(next(iter(model.graph))) is None


@pytest.mark.parametrize(("group", "weight", "wanted"), [
    (6, (6, 1, 3, 3), True), (1, (6, 6, 3, 3), False), (3, (6, 2, 3, 3), False), (6, (12, 1, 3, 3), False),
])  # fmt: skip
def test_depthwise_is_one_kernel_a_channel(group: int, weight: tuple[int, ...], wanted: bool) -> None:
    model = parsed(f"y = Conv<group={group}>(x, w)", "float[1,6,8,8] x", "float[] y", w=np.ones(weight))
    assert is_depthwise(node_of(model, "Conv")) == wanted
    single = parsed("y = Conv<group=1>(x, w)", "float[1,1,8,8] x", "float[] y", w=np.ones((1, 1, 3, 3)))
    assert not is_depthwise(node_of(single, "Conv")), "one channel is a dense product"


@pytest.mark.parametrize(("shapes", "axis", "sizes"), [
    (["1,2,4,4", "1,3,4,4"], 1, [2, 3]),
    (["1,2,4,4", "1,3,4,4", "1,2,4,4"], -3, [2, 3, 2]),
    (["1,2,4,4", "1,2,4,4"], 1, None),
    (["1,2,4,4", "1,2,5,4"], 2, None),
    (["1,2,4", "1,3,4"], 1, None),
    (["1,n,4,4", "1,3,4,4"], 1, None),
])  # fmt: skip
def test_joins_of_unequal_parts(shapes: list[str], axis: int, sizes: list[int] | None) -> None:
    inputs = ", ".join(f"float[{s}] x{i}" for i, s in enumerate(shapes))
    names = ", ".join(f"x{i}" for i in range(len(shapes)))
    found = unequal_concat(node_of(parsed(f"y = Concat<axis={axis}>({names})", inputs, "float[] y"), "Concat"))
    assert (found and found.sizes) == sizes
    if found:
        assert [v.name for v in found.parts] == names.split(", ")
