"""The networks of the family written once: backbone, neck and head as an ONNX graph.

Operators are chosen so that the NPU takes them as they are: SiLU as ``x * Sigmoid(x)``, equal channel Splits, stride-1
MaxPools, nearest Resize with asymmetric coordinates and floor ([#onnx-operators], [#joins], [#resize]).
"""

from __future__ import annotations

from fractions import Fraction

import onnx_ir as ir

from n6convert.plugin import SourceError
from n6convert_yolov8.architecture import Architecture
from n6convert_yolov8.blocks import BlockWriter
from n6convert_yolov8.head import HeadForm, write_classifier, write_head
from n6convert_yolov8.layers import Feature, Layers
from n6convert_yolov8.parameters import Conv, Parameters

__all__ = ["INPUT", "build_network", "walk_network"]

INPUT = "images"
_SMALLEST = (32, 32)


def build_network(
    parameters: Parameters,
    size: tuple[int, int],
    *,
    head: HeadForm = "cut",
    channels_last: bool = False,
    name: str = "yolo",
    as_published: bool = False,
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
        as_published: keep every convolution of the checkpoint by itself where two could be one.

    Raises:
        SourceError: weights do not fit each other.
    """
    writer = BlockWriter(name, _Loaded(parameters), as_published=as_published)
    channels = parameters.convs["0"].weight.shape[1]
    shape = (1, *size, channels) if channels_last else (1, channels, *size)
    image = ir.Value(name=INPUT, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
    x = writer.graph.op("Transpose", "images_nchw", image, perm=[0, 3, 1, 2]) if channels_last else image
    outputs = _write(writer, parameters.architecture, Feature(x, channels, size), size, head)
    return writer.graph.finish([image], outputs)


def walk_network(architecture: Architecture, layers: Layers) -> None:
    """Ask for every convolution once, in the order of the graph."""
    image = ir.Value(name=INPUT, shape=ir.Shape((1, 3, *_SMALLEST)), type=ir.TensorType(ir.DataType.FLOAT))
    _write(BlockWriter("walk", layers), architecture, Feature(image, 3, _SMALLEST), _SMALLEST, "cut")


class _Loaded(Layers):
    def __init__(self, parameters: Parameters) -> None:
        self._convs = parameters.convs

    def conv(self, name: str, into: int, kernel: int, power: Fraction) -> Conv:
        found = self._convs.get(name)
        if found is None:
            raise SourceError(
                "the weights are incomplete", limit="every layer of the network", found=f"no layer {name}"
            )
        if found.weight.shape[1:] != (into, kernel, kernel):
            raise SourceError(
                "the weights do not fit each other", place=f"layer {name}",
                limit=f"[..., {into}, {kernel}, {kernel}]", found=list(found.weight.shape),
            )  # fmt: skip
        return found


def _write(
    writer: BlockWriter, architecture: Architecture, image: Feature, size: tuple[int, int], form: HeadForm
) -> list[ir.Value]:
    maps = _backbone(writer, architecture, image)
    if architecture.task == "classify":
        return write_classifier(writer, architecture, maps[2], form)
    return write_head(writer, architecture, _neck(writer, architecture, *maps), size, form)


def _backbone(writer: BlockWriter, architecture: Architecture, x: Feature) -> tuple[Feature, Feature, Feature]:
    """Layers 0 to 9 or 10; gives the maps of strides 8, 16 and 32."""
    blocks = architecture.blocks
    x = writer.block(2, writer.conv("1", writer.conv("0", x, 3, 2), 3, 2), blocks[2], _shortcut(architecture, 2))
    maps = []
    for layer in (4, 6, 8):
        x = writer.block(layer, writer.conv(str(layer - 1), x, 3, 2), blocks[layer], _shortcut(architecture, layer))
        maps.append(x)
    last = 9
    if architecture.task != "classify":
        x, last = writer.pooled(9, x, plain=architecture.family == "yolo26"), 10
    if architecture.attention:
        x = writer.attention_layer(last, x, architecture.attention)
    return maps[0], maps[1], x


def _neck(
    writer: BlockWriter, architecture: Architecture, p3: Feature, p4: Feature, p5: Feature
) -> tuple[Feature, Feature, Feature]:
    """Up to stride 8 and down again."""
    s = architecture.shift

    def block(layer: int, *parts: Feature) -> Feature:
        joined = writer.concat(layer - 1 + s, *parts)
        return writer.block(layer + s, joined, architecture.blocks[layer + s], _shortcut(architecture, layer))

    middle = block(12, writer.upsample(f"{10 + s}", p5), p4)
    small = block(15, writer.upsample(f"{13 + s}", middle), p3)
    medium = block(18, writer.conv(str(16 + s), small, 3, 2), middle)
    large = block(21, writer.conv(str(19 + s), medium, 3, 2), p5)
    return small, medium, large


def _shortcut(architecture: Architecture, layer: int) -> bool:
    """C2f blocks of YOLOv8's neck have no shortcuts; C3k2 blocks have them everywhere."""
    return architecture.family != "yolov8" or layer < 10
