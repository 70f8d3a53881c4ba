"""YOLOv8 written once: backbone, neck and head as an ONNX graph.

Operators are chosen so that the NPU takes them as they are: SiLU as ``x * Sigmoid(x)``, equal channel Splits, stride-1
MaxPools, nearest Resize with asymmetric coordinates and floor ([#onnx-operators], [#joins], [#resize]).
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from n6convert_yolov8.architecture import C2F_LAYERS
from n6convert_yolov8.graph import GraphBuilder
from n6convert_yolov8.head import HeadForm, write_head
from n6convert_yolov8.parameters import Parameters

__all__ = ["INPUT", "build_network"]

INPUT = "images"


def build_network(
    parameters: Parameters,
    size: tuple[int, int],
    *,
    head: HeadForm = "cut",
    channels_last: bool = False,
    name: str = "yolov8",
) -> ir.Model:
    """The float graph.

    Input ``images``: float32 RGB in 0..1, ``[1, 3, h, w]``, or ``[1, h, w, 3]`` with ``channels_last``. Outputs: see
    :mod:`n6convert_yolov8.head`.

    Args:
        parameters: the weights.
        size: input height and width in pixels, multiples of 32.
        head: ``cut`` or ``full``.
        channels_last: take the input channel-last and transpose it inside.
        name: name of the graph.
    """
    writer = _Writer(parameters, name)
    channels = parameters.convs["0"].weight.shape[1]
    shape = (1, *size, channels) if channels_last else (1, channels, *size)
    image = ir.Value(name=INPUT, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
    x = writer.graph.op("Transpose", "images_nchw", image, perm=[0, 3, 1, 2]) if channels_last else image
    features = writer.neck(*writer.backbone(x))
    return writer.graph.finish([image], write_head(writer.graph, parameters, features, size, head))


class _Writer:
    def __init__(self, parameters: Parameters, name: str) -> None:
        self.graph = GraphBuilder(name)
        self._convs = parameters.convs
        self._repeats = parameters.architecture.repeats

    def backbone(self, x: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Layers 0 to 9; gives the maps of strides 8, 16 and 32."""
        x = self.c2f(2, self.conv("1", self.conv("0", x, 2), 2))
        p3 = self.c2f(4, self.conv("3", x, 2))
        p4 = self.c2f(6, self.conv("5", p3, 2))
        p5 = self.c2f(8, self.conv("7", p4, 2))
        return p3, p4, self.sppf(9, p5)

    def neck(self, p3: ir.Value, p4: ir.Value, p5: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
        """Layers 10 to 21: up to stride 8 and down again."""
        middle = self.c2f(12, self.concat(11, self.upsample(10, p5), p4))
        small = self.c2f(15, self.concat(14, self.upsample(13, middle), p3))
        medium = self.c2f(18, self.concat(17, self.conv("16", small, 2), middle))
        large = self.c2f(21, self.concat(20, self.conv("19", medium, 2), p5))
        return small, medium, large

    def conv(self, name: str, x: ir.Value, stride: int = 1) -> ir.Value:
        return self.graph.silu(self.graph.conv(name, x, self._convs[name], stride))

    def c2f(self, layer: int, x: ir.Value) -> ir.Value:
        """Split in halves, a chain of bottlenecks on the second one, all joined again."""
        half = self._convs[f"{layer}.cv1"].weight.shape[0] // 2
        parts = list(self.graph.split(f"{layer}.split", self.conv(f"{layer}.cv1", x), [half, half]))
        shortcut = min(C2F_LAYERS) <= layer < 10
        for r in range(self._repeats[layer]):
            y = self.conv(f"{layer}.m.{r}.cv2", self.conv(f"{layer}.m.{r}.cv1", parts[-1]))
            parts.append(self.graph.op("Add", f"{layer}.m.{r}.add", parts[-1], y) if shortcut else y)
        return self.conv(f"{layer}.cv2", self.concat(layer, *parts))

    def sppf(self, layer: int, x: ir.Value) -> ir.Value:
        """Three chained 5x5 MaxPools, joined with their input."""
        parts = [self.conv(f"{layer}.cv1", x)]
        for i in range(3):
            pool = self.graph.op(
                "MaxPool", f"{layer}.pool.{i}", parts[-1], kernel_shape=[5, 5], strides=[1, 1], pads=[2, 2, 2, 2]
            )
            parts.append(pool)
        return self.conv(f"{layer}.cv2", self.concat(layer, *parts))

    def concat(self, layer: int, *parts: ir.Value) -> ir.Value:
        return self.graph.op("Concat", f"{layer}.concat", *parts, axis=1)

    def upsample(self, layer: int, x: ir.Value) -> ir.Value:
        scales = self.graph.constant("upsample_scales", np.array([1, 1, 2, 2], np.float32))
        mode = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        return self.graph.op("Resize", f"{layer}.upsample", x, None, scales, **mode)
