"""A small model plugin that can misbehave; tests install it as the distribution ``n6-toy``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from n6convert.metrics.base import Metric, Score, mean_score
from n6convert.plugin import (
    BuildRequest,
    Feeds,
    FloatModel,
    ModelPlugin,
    Outputs,
    PluginOptions,
    Sample,
    SampleSource,
    Weights,
)
from n6convert.plugin.weights import HubModel, fetch_hub
from n6convert.store.cache import sha256_of


class Options(PluginOptions):
    """What can be asked of the toy, sane or not."""

    channels: int = 4
    nan_weight: bool = False
    nan_value: bool = False
    batch: int = 1
    fails_in: str = ""
    wrong_feeds: bool = False


class Noise(SampleSource):
    """Random pictures."""

    name = "noise"
    synthetic = True

    def __len__(self) -> int:
        return 20

    def __iter__(self) -> Iterator[Sample]:
        for i in range(20):
            values = np.random.default_rng(i).standard_normal((1, 3, 8, 8)).astype(np.float32)
            yield Sample(f"noise{i}", {"x": values})


class Toy(ModelPlugin):
    """Conv, Relu and a pointwise Conv with random weights."""

    Options = Options

    def build(self, request: BuildRequest) -> FloatModel:
        self._fail("build")
        options = self.options
        rng = np.random.default_rng(request.seed)
        weights = {
            "w1": rng.standard_normal((options.channels, 3, 3, 3)).astype(np.float32),
            "w2": rng.standard_normal((2, options.channels, 1, 1)).astype(np.float32),
        }
        if request.weights.path is not None:
            weights["w2"] *= np.float32(len(request.weights.path.read_bytes()))
        if options.nan_weight:
            weights["w2"][0, 0] = np.nan
        nodes = [
            helper.make_node("Conv", ["x", "w1"], ["c"], name="first", pads=[1, 1, 1, 1]),
            helper.make_node("Sqrt" if options.nan_value else "Relu", ["c"], ["r"], name="middle"),
            helper.make_node("Conv", ["r", "w2"], ["y"], name="last"),
        ]
        graph = helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [options.batch, 3, 8, 8])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [options.batch, 2, 8, 8])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        note = os.environ.get("N6_TOY_NOTE")
        return FloatModel(ir.from_proto(proto), {"classes": "a,b"} | ({"note": note} if note else {}))

    def resolve_weights(self, weights: str, *, cache: Path) -> Weights | None:
        if os.environ.get("N6_TOY_HUB") and weights == "pretrained":
            return fetch_hub(HubModel("owner/toy", ("model.bin",), None, "MIT"), cache)
        path = os.environ.get("N6_TOY_PRETRAINED")
        if weights != "pretrained" or path is None:
            return None
        return Weights("pretrained", Path(path), sha256_of(Path(path)), "https://example.org/toy", "MIT")

    def encode(self, sample: Sample) -> Feeds:
        self._fail("encode")
        time.sleep(float(os.environ.get("N6_TOY_SLEEP", "0")))
        with Path(os.environ.get("N6_TOY_LOG", os.devnull)).open("a") as log:
            log.write("encode\n")
        return {"z": sample.data["x"]} if self.options.wrong_feeds else dict(sample.data)

    def samples(self) -> SampleSource:
        self._fail("samples")
        return Noise()

    def _fail(self, where: str) -> None:
        if self.options.fails_in == f"{where} by exit":
            raise SystemExit(3)
        if self.options.fails_in == where:
            raise ZeroDivisionError("toy trouble")


class Brightness(Metric):
    """Share of pictures whose brightness is judged as their number of labels says: bright ones have any."""

    def __init__(self) -> None:
        self.right: list[float] = []

    def add(self, sample: Sample, prediction: float) -> None:
        self.right.append(float((prediction > 0.5) == bool(sample.label.annotations)))

    def score(self) -> Score:
        return mean_score("brightness", self.right, "share")


class Seer(Toy):
    """Looks at pictures, passes them on unchanged, and says how bright they are."""

    sample_kind = "image"

    def build(self, request: BuildRequest) -> FloatModel:
        shape = [1, 3, 8, 8]
        graph = helper.make_graph(
            [helper.make_node("Conv", ["x", "w"], ["y"], name="same")],
            "seer",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            [numpy_helper.from_array(np.eye(3, dtype=np.float32)[..., None, None], "w")],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        return FloatModel(ir.from_proto(proto))

    def encode(self, sample: Sample) -> Feeds:
        pixels = np.asarray(sample.data)[:8, :8].transpose(2, 0, 1)[None]
        return {"x": np.ascontiguousarray(pixels, np.float32) / 255}

    def decode(self, outputs: Outputs, sample: Sample | None = None) -> float:
        return float(outputs["y"].mean())

    def metric(self) -> Metric | None:
        return None if self.options.fails_in == "metric" else Brightness()

    def draw(self, sample: Sample, *predictions: float) -> Image.Image:
        return Image.new("L", (8 * len(predictions), 8), int(255 * predictions[0]))
