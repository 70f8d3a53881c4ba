"""Biases take back what changed weights do to the means of their layers."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from n6convert.quantization import QuantizationConfig, quantize  # noqa: E402
from n6convert.tuning.centering import input_centers  # noqa: E402
from n6convert.tuning.parameters import Parameters  # noqa: E402
from n6convert.tuning.program import Program  # noqa: E402

from .nets import feeds, parse, weights_of  # noqa: E402

SAMPLES = list(feeds((1, 3, 8, 8), 6)())
#: a plain, a grouped and a depthwise convolution, and a product, all of what a ReLU gives
BODY = """
net (float[1,3,8,8] x) => (float[1,16,8,8] g, float[1,16,8,8] d, float[1,5] y) {
  s0 = Conv(x, stem, b16) s = Relu(s0)
  p = Conv(s, plain, b16) r = Relu(p)
  g = Conv<group=4>(r, grouped, b16)
  d = Conv<group=16>(r, deep, b16)
  a = GlobalAveragePool(r) f = Flatten(a)
  y = Gemm<transB=TRANS>(f, head, b5)
}"""
SHAPES = {"stem": (16, 3, 1, 1), "plain": (16, 16, 1, 1), "grouped": (16, 4, 1, 1), "deep": (16, 1, 1, 1)}


@pytest.mark.parametrize("transposed", [0, 1])
def test_changed_weights_leave_the_means(transposed: int) -> None:
    weights = weights_of(SHAPES | {"head": (5, 16) if transposed else (16, 5)})
    biases = {"b16": np.full(16, 0.1, np.float32), "b5": np.zeros(5, np.float32)}
    model = parse(BODY.replace("TRANS", str(transposed)), **weights, **biases)
    result = quantize(model, lambda: iter(SAMPLES), QuantizationConfig(threads=1))
    assert result.prepared is not None
    program, parameters = Program(result.model), Parameters(result.model, result.prepared)
    centers = input_centers(result.model, program, parameters.state(), SAMPLES)
    assert len(centers) == 5

    def means() -> dict[str, torch.Tensor]:
        with torch.no_grad():
            runs = [program.run([f], parameters.state()).outputs for f in SAMPLES]
        return {n: torch.stack([r[n][0].transpose(0, 1).flatten(1).mean(1) for r in runs]).mean(0) for n in runs[0]}

    before, moved = means(), {}
    changed = [leaf for name, leaf in parameters.leaves.items() if "stem" not in name and "plain" not in name]
    for centered in (False, True):
        if centered:
            parameters.center(centers)
        with torch.no_grad():
            for leaf in (x for x in changed if x.dim() > 1):
                leaf.add_(3)
        after = means()
        moved[centered] = {n: float((after[n] - before[n]).abs().max()) for n in before}
        with torch.no_grad():
            for leaf in (x for x in changed if x.dim() > 1):
                leaf.sub_(3)
    for name, without in moved[False].items():
        assert moved[True][name] < without / 4, name
    assert all(torch.equal(a, before[n]) for n, a in means().items())
