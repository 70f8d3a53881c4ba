from dataclasses import replace

import numpy as np
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from n6convert.plugin import BuildRequest, Feeds, FloatModel, ModelPlugin, PluginOptions, Sample

SOBEL = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], np.float32) / 4


class Options(PluginOptions):
    imgsz: int = 64


class Edges(ModelPlugin):
    Options, sample_kind, summary = Options, "image", "horizontal and vertical edges of an image"

    def build(self, request: BuildRequest) -> FloatModel:
        size = self.options.imgsz
        kernels = np.stack([np.stack([k] * 3) for k in (SOBEL, SOBEL.T)]) / 3  # [2, 3, 3, 3]
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])
        edges = helper.make_tensor_value_info("edges", TensorProto.FLOAT, [1, 2, size, size])
        conv = helper.make_node("Conv", ["image", "kernels"], ["signed"], pads=[1, 1, 1, 1])
        relu = helper.make_node("Relu", ["signed"], ["edges"])
        graph = helper.make_graph([conv, relu], "edges", [image], [edges], [numpy_helper.from_array(kernels, "kernels")])
        opset = helper.make_opsetid("", 17)
        return FloatModel(ir.from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=8)))

    def encode(self, sample: Sample) -> Feeds:
        rows, columns = (np.linspace(0, n - 1, self.options.imgsz).astype(int) for n in sample.data.shape[:2])
        pixels = sample.data[rows][:, columns]  # [size, size, 3]
        return {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32) / 255}

    def augment(self, sample: Sample, draw: np.random.Generator) -> Sample:
        return replace(sample, data=np.rot90(sample.data, draw.integers(4)).copy(), label=None)

    def training_loss(self, outputs, sample: Sample):  # a label is the edges [2, size, size] that should be found
        return (outputs["edges"][0] - outputs["edges"].new_tensor(sample.label)).abs().mean()
