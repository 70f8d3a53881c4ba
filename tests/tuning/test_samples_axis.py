"""Samples along the first axis."""

import numpy as np
import pytest

from n6convert.quantization import quantize
from n6convert.tuning.parameters import Parameters
from n6convert.tuning.program import Program
from n6convert.tuning.samples_axis import keeps_samples_apart

from .nets import feeds, parse, weights_of

#: lines between a convolution and the output, and whether samples stay apart
CASES = {
    "r = Reshape(x, flat)\n t = MatMul(r, w)": True,
    "r = Reshape(x, flat)\n s = Transpose<perm=[0,2,1]>(r)\n t = MatMul(r, s)": True,
    "g = GlobalAveragePool(x)\n t = Mul(x, g)": True,
    "s = Softmax<axis=1>(x)\n t = Concat<axis=1>(x, s)": True,
    "t = Add(x, whole)": True,
    "s = Softmax<axis=0>(x)\n t = Concat<axis=1>(x, s)": False,
    "t = Concat<axis=0>(x, x)": False,
    "t = Transpose<perm=[1,0,2,3]>(x)": False,
    "r = Reshape(x, rows)\n u = Add(r, r)\n t = Reshape(u, flat)": False,
    "t = Slice(x, zero, one, zero)": False,
    "t = ReduceMean<axes=[0,2]>(x)": False,
}


@pytest.mark.parametrize(("lines", "apart"), CASES.items())
def test_samples_give_what_each_gives_alone(lines: str, apart: bool) -> None:
    arrays = weights_of({"stem": (4, 4, 3, 3), "bias": (4,), "w": (16, 4), "whole": (1, 4, 4, 4)})
    sizes = {"flat": [1, 4, 16], "rows": [4, 16], "zero": [0], "one": [1]}
    model = parse(
        f"net (float[1,4,4,4] image) => (float[] y) {{ x = Conv<pads=[1,1,1,1]>(image, stem, bias)\n {lines}\n"
        " y = Mul(t, half) }",
        13, half=np.array([0.5], np.float32), **arrays, **{n: np.array(v) for n, v in sizes.items()},
    )  # fmt: skip
    result = quantize(model, feeds((1, 4, 4, 4), name="image"))
    assert result.prepared is not None
    assert keeps_samples_apart(result.model) is apart
    program, state = Program(result.model), Parameters(result.model, result.prepared).state()
    samples = list(feeds((1, 4, 4, 4), 3, 9, "image")())
    together = program.run(samples, state).outputs["y"]
    for sample, found in zip(samples, together, strict=True):
        np.testing.assert_array_equal(program.run([sample], state).outputs["y"][0].detach(), found.detach())
