"""EfficientViT as a graph: convolutions, HardSwish, residuals; attention in :mod:`n6convert_efficientvit.attention`."""

from __future__ import annotations

import onnx_ir as ir

from n6convert.plugin.graphs import NetworkWriter
from n6convert_efficientvit.attention import write_attention
from n6convert_efficientvit.parameters import Parameters

__all__ = ["INPUT", "OUTPUT", "build_network"]

INPUT, OUTPUT = "images", "logits"
_ATTENTION_FROM = 2
_NORM_EPSILON = 1e-5


def build_network(parameters: Parameters, size: tuple[int, int], name: str = "efficientvit") -> ir.Model:
    """The float graph.

    Input ``images``: float32 ``[1, 3, h, w]``, ImageNet mean and deviation. Output ``logits``: ``[1, classes]``.

    Args:
        parameters: the weights.
        size: input height and width in pixels, multiples of 32.
        name: name of the graph.
    """
    network = _Network(parameters, size, name)
    image = ir.Value(name=INPUT, shape=ir.Shape((1, 3, *size)), type=ir.TensorType(ir.DataType.FLOAT))
    return network.graph.finish([image], [network.head(network.body(image))])


class _Network:
    def __init__(self, parameters: Parameters, size: tuple[int, int], name: str) -> None:
        self.graph = NetworkWriter(name)
        self._parameters = parameters
        self._size = size

    def body(self, x: ir.Value) -> ir.Value:
        """Stem and stages, ``[1, 3, h, w]`` to ``[1, widths[-1], h/32, w/32]``."""
        arch = self._parameters.arch
        x = self.conv("stem.in_conv", x, stride=2, active=True)
        for i in range(arch.depths[0]):
            name = f"stem.res{i}"
            y = self.conv(f"{name}.main.depth_conv", x, active=True)
            x = self.add(name, self.conv(f"{name}.main.point_conv", y), x)
        for stage, depth in enumerate(arch.depths[1:]):
            prefix, attention = f"stages.{stage}.blocks", stage >= _ATTENTION_FROM
            x = self.bottleneck(f"{prefix}.0.main", x, stride=2)
            for i in range(1, depth + attention):
                block = f"{prefix}.{i}"
                x = self.attention_block(block, x, 4 << stage) if attention else self.residual(block, x)
        return x

    def head(self, x: ir.Value) -> ir.Value:
        """Pool, two hidden layers, LayerNorm between them. Linear layers are 1x1 convolutions on ``[1, C, 1, 1]``."""
        graph, parameters = self.graph, self._parameters
        width = parameters.arch.head_widths[1]
        x = graph.op("GlobalAveragePool", "head.global_pool", self.conv("head.in_conv", x, active=True))
        x = graph.conv("head.classifier.0", x, parameters["head.classifier.0.weight"][..., None, None])
        x = graph.reshape("head.classifier.0.flat", x, [1, width])
        gamma = graph.constant("head.classifier.1.weight", parameters["head.classifier.1.weight"])
        beta = graph.constant("head.classifier.1.bias", parameters["head.classifier.1.bias"])
        x = graph.op("LayerNormalization", "head.classifier.1", x, gamma, beta, axis=-1, epsilon=_NORM_EPSILON)
        x = graph.reshape("head.classifier.1.map", x, [1, width, 1, 1])
        x = graph.op("HardSwish", "head.classifier.2", x)
        weight, bias = parameters["head.classifier.4.weight"], parameters["head.classifier.4.bias"]
        x = graph.conv("head.classifier.4", x, weight[..., None, None], bias)
        return graph.reshape(OUTPUT, x, [1, parameters.arch.classes])

    def conv(self, name: str, x: ir.Value, *, stride: int = 1, active: bool = False) -> ir.Value:
        """A ConvNormAct; depthwise when its weights have one input channel.

        Args:
            name: of the layer, as the checkpoint has it.
            x: [1, C, H, W].
            stride: of rows and columns.
            active: with HardSwish behind it.
        """
        weight, bias = self._parameters.conv(name)
        groups = weight.shape[0] if weight.shape[1] == 1 else 1
        y = self.graph.conv(name, x, weight, bias, stride=stride, groups=groups)
        return self.graph.op("HardSwish", f"{name}.act", y) if active else y

    def bottleneck(self, name: str, x: ir.Value, stride: int = 1) -> ir.Value:
        x = self.conv(f"{name}.inverted_conv", x, active=True)
        x = self.conv(f"{name}.depth_conv", x, stride=stride, active=True)
        return self.conv(f"{name}.point_conv", x)

    def residual(self, name: str, x: ir.Value) -> ir.Value:
        return self.add(name, self.bottleneck(f"{name}.main", x), x)

    def attention_block(self, name: str, x: ir.Value, stride: int) -> ir.Value:
        module, grid = f"{name}.context_module", (self._size[0] // stride, self._size[1] // stride)
        x = self.add(module, write_attention(self.graph, self._parameters, f"{module}.main", x, grid), x)
        module = f"{name}.local_module"
        return self.add(module, self.bottleneck(f"{module}.main", x), x)

    def add(self, name: str, x: ir.Value, y: ir.Value) -> ir.Value:
        return self.graph.op("Add", name, x, y)
