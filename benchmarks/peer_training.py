"""Quantization-aware training by NNCF of a float ONNX file, label-free, for ``bench_tune.py``: run by its own Python.

NNCF trains torch models: onnx2torch makes one of the file. ``nncf.quantize`` inserts its quantizers (its settings for
transformers where the file has LayerNormalization), then weights, biases and ranges learn to bring the outputs back to
the float model's, on the same samples, for as many seconds of the processor as are given. The optimizer and its rate
are those of NNCF's own example of quantization-aware training (Adam, 1e-5; 1e-4 for four bits), with a rate that
falls to zero.
"""

from __future__ import annotations

import copy
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import numpy as np
import onnx
import torch

__all__ = ["train_with_nncf"]

os.environ.setdefault("NNCF_EXTENSION_LOAD_TIMEOUT", "300")  # seconds: it compiles when it runs for the first time

_BATCH = 16
#: by bits: that of NNCF's example, and ten times as much where it moves hardly a code
_RATES = {8: 1e-5, 4: 1e-4}
#: how far an exported file may be from the trained torch model, as a share of the float output's largest value
_EXPORTED = 0.02


class _Network(torch.nn.Module):
    """A file's graph as a module whose constants learn; NNCF takes a bare graph of torch.fx another way."""

    def __init__(self, model: onnx.ModelProto) -> None:
        super().__init__()
        self.graph = _onnx2torch(model)
        for part in self.graph.modules():  # a constant operand of MatMul is a buffer to onnx2torch
            for name, values in list(part.named_buffers(recurse=False)):
                if values.is_floating_point() and values.numel() > 1:
                    delattr(part, name)
                    part.register_parameter(name, torch.nn.Parameter(values.clone()))

    def forward(self, *given: Any) -> Any:
        return self.graph(*given)


def train_with_nncf(
    model: Path, samples: Sequence[dict[str, Any]], out: Path, bits: int, seconds: float
) -> dict[str, float]:
    """Quantize and train; write ``out`` and, as it was before training, ``untrained.onnx`` beside it.

    Args:
        model: float.
        samples: arrays by input name.
        bits: of weights. NNCF itself inserts quantizers of eight bits alone; these get four.
        seconds: of the processor, for training.

    Returns:
        ``steps`` of training, and the seconds of the processor that it took as ``train``.

    Raises:
        RuntimeError: the file that torch writes computes something else than the trained model.
    """
    import nncf
    from nncf.torch.function_hook.wrapper import get_hook_storage

    torch.manual_seed(0)
    proto = onnx.load(model)
    given = [[torch.from_numpy(s[i.name]) for i in proto.graph.input] for s in samples]
    network = _Network(proto).eval()
    with torch.no_grad():
        exact = [_outputs(network(*arrays)) for arrays in given]
    normed = any(node.op_type == "LayerNormalization" for node in proto.graph.node)
    quantized = nncf.quantize(
        network, nncf.Dataset(list(range(len(given))), lambda i: tuple(given[i])), subset_size=len(given),
        model_type=nncf.ModelType.TRANSFORMER if normed else None,
    )  # fmt: skip
    for name, module in get_hook_storage(quantized).named_hooks():
        if name.startswith("pre_hooks") and getattr(
            module, "per_channel", False
        ):  # results have theirs behind the operator
            module.num_bits = bits
    limits = [_EXPORTED * values.abs().max().item() for values in exact[0]]
    _export(quantized, given[0], proto, out.with_name("untrained.onnx"), limits)
    begun = time.process_time()
    steps = _trained(quantized, given, exact, seconds, _RATES[bits])
    taken = time.process_time() - begun
    _export(quantized, given[0], proto, out, limits)
    return {"steps": steps, "train": taken}


def _trained(network: Any, given: Sequence[Any], exact: Sequence[Any], seconds: float, rate: float) -> int:
    """Steps that fit into the seconds; batch norms are part of convolutions already, so that no mode changes."""
    numbers = [p for p in network.parameters() if p.requires_grad]
    descent = torch.optim.Adam(numbers, lr=rate)
    spread = [torch.stack(values).std().item() for values in zip(*exact, strict=True)]
    begun = time.process_time()
    for step, batch in enumerate(_batches(len(given))):
        done = (time.process_time() - begun) / max(seconds, 1e-9)
        if done >= 1:
            return step
        descent.param_groups[0]["lr"] = rate * 0.5 * (1 + math.cos(math.pi * done))
        descent.zero_grad()
        for i in batch:  # the files hold shapes of one sample
            (_distance(_outputs(network(*given[i])), exact[i], spread) / len(batch)).backward()
        descent.step()
    raise AssertionError("batches end")


def _batches(count: int) -> Iterator[list[int]]:
    order: list[int] = []
    while True:
        while len(order) < _BATCH:
            order += torch.randperm(count).tolist()
        yield order[:_BATCH]
        order = order[_BATCH:]


def _distance(made: Sequence[Any], exact: Sequence[Any], spread: Sequence[float]) -> Any:
    """Divergence of probabilities (Kullback and Leibler), squared errors in the output's spread of anything else."""
    total = 0.0
    for a, b, size in zip(made, exact, spread, strict=True):
        if bool((b >= 0).all()) and bool(((b.sum(-1) - 1).abs() < 1e-3).all()):
            total = total + torch.nn.functional.kl_div(a.clamp_min(1e-9).log(), b, reduction="batchmean")
        else:
            total = total + torch.square((a - b) / size).mean()
    return total


def _export(network: Any, sample: Sequence[Any], proto: onnx.ModelProto, out: Path, limits: Sequence[float]) -> None:
    """Write a QDQ file; weights of four bits, which torch does not export, as the values that their codes stand for."""
    import onnxruntime

    stripped = _stripped(network, sample)
    names = [i.name for i in proto.graph.input], [o.name for o in proto.graph.output]
    with patch("torch.onnx.is_in_onnx_export", return_value=False):  # else onnx2torch writes operators its own way
        torch.onnx.export(
            stripped, tuple(sample), str(out), input_names=names[0], output_names=names[1], dynamo=False,
            opset_version=17,
        )  # fmt: skip
    feeds = {name: values.numpy() for name, values in zip(names[0], sample, strict=True)}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # else rounded elsewhere
    written = onnxruntime.InferenceSession(out, options, providers=["CPUExecutionProvider"]).run(None, feeds)
    with torch.no_grad():
        expected = [values.numpy() for values in _outputs(network(*sample))]
    for a, b, limit in zip(written, expected, limits, strict=True):
        if np.abs(a - b).max() > limit:
            raise RuntimeError(f"the file that torch writes is off by {np.abs(a - b).max():.3g}")


def _stripped(network: Any, sample: Sequence[Any]) -> Any:
    """A copy in torch's own operators; quantizers of four bits, which these have not, are the values that they give."""
    import nncf
    from nncf.torch.function_hook.wrapper import get_hook_storage

    made = copy.deepcopy(network)
    narrow = {name: m for name, m in get_hook_storage(made).named_hooks() if getattr(m, "num_bits", 8) < 8}
    values: dict[str, Any] = {}
    for name, module in narrow.items():
        module.register_forward_hook(partial(_keep, values, name))
    with torch.no_grad():
        made(*sample)
    for module in narrow.values():
        module._forward_hooks.clear()
        module.num_bits = 8
    made = nncf.strip(made, do_copy=False, example_input=tuple(sample))
    for name in narrow:
        get_hook_storage(made).set_submodule(name, _Constant(values[name]))
    return made


def _keep(values: dict[str, Any], name: str, module: Any, given: Any, made: Any) -> None:
    values[name] = made.detach().clone()


class _Constant(torch.nn.Module):
    def __init__(self, values: Any) -> None:
        super().__init__()
        self.register_buffer("values", values)

    def forward(self, given: Any) -> Any:
        return self.values


def _outputs(made: Any) -> tuple[Any, ...]:
    return tuple(made) if isinstance(made, (tuple, list)) else (made,)


def _onnx2torch(model: onnx.ModelProto) -> Any:
    """Also where torchvision was built for another torch: onnx2torch needs it for two operators of detectors alone."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError):
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        sys.modules |= {name: MagicMock() for name in ("torchvision", "torchvision.ops")}
    from onnx2torch import convert

    return convert(model)
