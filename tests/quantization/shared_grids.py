"""Seeded networks whose tensors share grids in every way, and what grids cost their tensors, measured on the values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.graph.extract import with_outputs
from n6convert.quantization.grid.affine import Grid
from n6convert.runtime.session import Session

from .nets import parse

SIZE = 12
_FUNCTIONS = ("Relu", "Relu", "Sigmoid", "Tanh", "LeakyRelu", "Softplus", "", "")
_MOVES = ("pool", "transpose", "resize", "pad", "split", "slice")


class _Net:
    """The text of a graph that grows; its tensors have ``SIZE`` x ``SIZE`` places."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.lines: list[str] = []
        self.weights: dict[str, NDArray[np.generic]] = {}
        self.channels = {"x": 4}
        self.whole = [self.conv("x") for _ in range(3)]

    def put(self, expression: str, *channels: int) -> str:
        names = [f"t{len(self.lines)}{'abc'[i]}" for i in range(len(channels))]
        self.lines.append(f"{', '.join(names)} = {expression}")
        self.channels.update(zip(names, channels, strict=True))
        return names[0]

    def constant(self, *values: float | NDArray[np.generic], kind: type = np.float32) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(values[0] if len(values) == 1 else values, kind)
        return name

    def conv(self, source: str, channels: int = 4) -> str:
        size, shift = float(self.rng.choice([0.3, 1.0, 3.0])), float(self.rng.choice([-0.5, 0.0, 0.5]))
        deviation = size / np.sqrt(9 * self.channels[source])
        kernel = self.rng.normal(0, deviation, (channels, self.channels[source], 3, 3))
        bias = self.rng.normal(shift * size, 0.1, channels)
        text = f"Conv<pads=[1,1,1,1]>({source}, {self.constant(kernel)}, {self.constant(bias)})"
        made, function = self.put(text, channels), str(self.rng.choice(_FUNCTIONS))
        return self.put(f"{function}({made})", channels) if function else made

    def moved(self, source: str) -> str:
        """The tensor behind operators that only select or move values."""
        count, kind = self.channels[source], str(self.rng.choice(_MOVES))
        if kind == "transpose":
            return self.put(f"Transpose<perm=[0,1,3,2]>({source})", count)
        if kind == "resize":
            half = self.put(f"MaxPool<kernel_shape=[2,2], strides=[2,2]>({source})", count)
            return self.put(f'Resize<mode="nearest">({half}, , {self.constant(1, 1, 2, 2)})', count)
        if kind == "pad":
            pads = self.constant(0, 0, 1, 1, 0, 0, 1, 1, kind=np.int64)
            wide = self.put(f"Pad({source}, {pads}, {self.constant(float(self.rng.choice([-0.5, 0, 2])))})", count)
            return self.put(f"AveragePool<kernel_shape=[3,3]>({wide})", count)
        if kind == "split" and count > 1:
            sizes = self.constant(count // 2, count - count // 2, kind=np.int64)
            return self.put(f"Split<axis=1>({source}, {sizes})", count // 2, count - count // 2)
        if kind == "slice" and count > 1:
            ends = [self.constant(np.array([n]), kind=np.int64) for n in (0, count // 2, 1)]
            return self.put(f"Slice({source}, {', '.join(ends)})", count // 2)
        return self.put(f"MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>({source})", count)

    def pick(self) -> str:
        return str(self.rng.choice(self.whole[-6:]))

    def step(self) -> None:
        kind = self.rng.choice(["conv", "conv", "moved", "concat", "concat", "add"])
        if kind == "conv":
            made = self.conv(self.pick())
        elif kind == "moved":
            made = self.moved(self.pick())
        elif kind == "add":
            made = self.put(f"Add({self.conv(self.pick())}, {self.conv(self.pick())})", 4)
        else:
            made = self.join(int(self.rng.integers(2, 5)))
        self.whole.append(made)

    def join(self, count: int) -> str:
        parts = [self.pick() for _ in range(count)]
        return self.put(f"Concat<axis=1>({', '.join(parts)})", sum(self.channels[p] for p in parts))


def shared_net(seed: int, steps: int = 12) -> ir.Model:
    """Convolutions with and without a function behind them, joined, split and moved at random.

    Its outputs: a convolution that reads the last Concat, and that Concat itself for every third seed.
    """
    net = _Net(seed)
    for _ in range(steps):
        net.step()
    joined = net.join(3)
    y = net.put(f"Conv<pads=[1,1,1,1]>({joined}, {net.constant(_kernel(net, joined))})", 4)
    outputs = [y, joined] if seed % 3 == 0 else [y]
    types = ", ".join(f"float[1,{net.channels[o]},{SIZE},{SIZE}] {o}" for o in outputs)
    body = "\n".join(net.lines)
    return parse(f"net (float[1,4,{SIZE},{SIZE}] x) => ({types}) {{\n{body}\n}}", **net.weights)  # type: ignore[arg-type]


def _kernel(net: _Net, source: str) -> NDArray[np.float64]:
    return net.rng.normal(0, 1 / np.sqrt(9 * net.channels[source]), (4, net.channels[source], 3, 3))


def tensor_values(
    model: ir.Model, samples: Sequence[Mapping[str, NDArray[np.float32]]], names: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """All values of the named tensors over the samples, flat."""
    session = Session(with_outputs(model, names), threads=1)
    runs = [session.run({n: s[n] for n in session.inputs}) for s in samples]
    return {n: np.concatenate([r[n].ravel() for r in runs]).astype(np.float64) for n in names}


def tensor_losses(values: Mapping[str, NDArray[np.float64]], grids: Mapping[str, Grid]) -> dict[str, float]:
    """Noise of each tensor when its values are rounded to its grid, as a share of its energy."""
    return {n: _loss(v, grids[n]) for n, v in values.items()}


def least_loss(tensors: Sequence[NDArray[np.float64]], steps: int = 7) -> float:
    """The sum of the tensors' losses on the best of all grids that end at a share of their extremes."""
    low, high = min(0.0, *(v.min() for v in tensors)), max(0.0, *(v.max() for v in tensors))
    shares = np.linspace(0.2, 1, steps)
    grids = [Grid.from_range(low * a, high * b) for a in shares for b in shares]
    return min(sum(_loss(v, grid) for v in tensors) for grid in grids)


def _loss(values: NDArray[np.float64], grid: Grid) -> float:
    gaps = grid.round(values) - values
    return float((gaps**2).sum() / max(float((values**2).sum()), 1e-30))
