"""Published PyTorch and Keras definitions as INT8 models: seeded weights, zero points measured on seeded pictures.

``python -m nets.originals FOLDER [NAME...]`` writes them. A definition comes from pytorchcv or keras.applications,
which the product does not need; what is not installed is left out by name. The float model is quantized as ST's model
zoo does it: onnxruntime, per channel, int8 on both sides.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

__all__ = ["ORIGINALS", "Original", "available", "write"]


@dataclass(frozen=True)
class Original:
    """A network of a package: ``package`` and the name of its definition there."""

    package: str
    name: str
    size: int
    classes: int = 1000


ORIGINALS: Mapping[str, Original] = {
    "squeezenetv1.0": Original("pytorchcv", "squeezenet:squeezenet_v1_0", 224),
    "squeezenetv1.1_128_food": Original("pytorchcv", "squeezenet:squeezenet_v1_1", 128, 101),
    "squeezenetv1.1_224_food": Original("pytorchcv", "squeezenet:squeezenet_v1_1", 224, 101),
    "sqnxt23_x150": Original("pytorchcv", "squeezenext:sqnxt23_w3d2", 224),
    "dla46xc": Original("pytorchcv", "dla:dla46xc", 224),
    "proxylessnas": Original("pytorchcv", "proxylessnas:proxylessnas_mobile", 224),
    "peleenet": Original("pytorchcv", "peleenet:peleenet", 224),
    "shufflenetv2_x100": Original("pytorchcv", "shufflenetv2:shufflenetv2_w1", 224),
    "resnet18wd4": Original("pytorchcv", "resnet:resnet18_wd4", 224),
    "resnet50v2_224_food": Original("keras", "ResNet50V2", 224, 101),
    "efficientnetv2b0_224_food": Original("keras", "EfficientNetV2B0", 224, 101),
    "efficientnetv2b0_224": Original("keras", "EfficientNetV2B0", 224),
    "efficientnetv2b1_240_food": Original("keras", "EfficientNetV2B1", 240, 101),
    "efficientnetv2b2_260_food": Original("keras", "EfficientNetV2B2", 260, 101),
    "efficientnetv2b2_260": Original("keras", "EfficientNetV2B2", 260),
    "efficientnetv2s_384_food": Original("keras", "EfficientNetV2S", 384, 101),
}
"""Key -> definition; sizes and classes are those of the published rows."""

_NEEDS = {"pytorchcv": ("pytorchcv", "torch"), "keras": ("tensorflow", "tf2onnx")}


def available(original: Original) -> bool:
    """Everything that builds it is installed."""
    return all(importlib.util.find_spec(name) is not None for name in _NEEDS[original.package])


def write(key: str, folder: Path) -> Path:
    """The INT8 model of a key, from ``folder`` when it is there already."""
    path = folder / f"{key}.onnx"
    if not path.is_file():
        original = ORIGINALS[key]
        folder.mkdir(parents=True, exist_ok=True)
        plain = folder / f"{key}.float.onnx"
        (_from_torch if original.package == "pytorchcv" else _from_keras)(original, plain)
        _quantize(plain, path)
        plain.unlink()
    return path


def _from_torch(original: Original, path: Path) -> None:
    import torch

    module, _, name = original.name.partition(":")
    torch.manual_seed(0)
    build = getattr(importlib.import_module(f"pytorchcv.models.{module}"), name)
    model = build(pretrained=False, num_classes=original.classes, in_size=(original.size, original.size)).eval()
    _pool_any_size(model)
    _spread(model, original.size)
    picture = torch.zeros(1, 3, original.size, original.size)
    torch.onnx.export(model, (picture,), str(path), opset_version=13, input_names=["input"], dynamo=False)


def _pool_any_size(model: Any) -> None:
    """The last pooling of a classifier, which some definitions fix for 224 pixels, over whatever map there is."""
    import torch

    last = [name for name, module in model.named_modules() if isinstance(module, torch.nn.AvgPool2d)]
    if last and "final_pool" in last[-1] or "output" in (last or [""])[-1]:
        parent, _, leaf = last[-1].rpartition(".")
        setattr(model.get_submodule(parent), leaf, torch.nn.AdaptiveAvgPool2d(1))


def _spread(model: Any, size: int) -> None:
    """Statistics of the normalizations as after training: of a seeded batch, with seeded scales and offsets."""
    import torch

    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, 0.0, 0.3)
        norm.momentum = None
        norm.train()
    with torch.no_grad():
        model(torch.randn(2, 3, size, size))
    model.eval()


def _from_keras(original: Original, path: Path) -> None:
    import tensorflow as tf
    import tf2onnx

    tf.keras.utils.set_random_seed(0)
    build = getattr(tf.keras.applications, original.name)
    shape = (original.size, original.size, 3)
    model = build(weights=None, input_shape=shape, classes=original.classes)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.beta.assign(random.normal(0.0, 0.3, layer.beta.shape))
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="input")]
    function = tf.function(lambda x: model(x, training=False), input_signature=signature)
    tf2onnx.convert.from_function(
        function, input_signature=signature, opset=13, inputs_as_nchw=["input"], output_path=str(path)
    )
    _bind_captured(path)


def _bind_captured(path: Path) -> None:
    """Statistics of a Normalization layer, which the exporter leaves as inputs, become constants."""
    model = onnx.load(path)
    for extra in model.graph.input[1:]:
        shape = [dim.dim_value for dim in extra.type.tensor_type.shape.dim]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.full(shape, 0.25, np.float32), extra.name))
    del model.graph.input[1:]
    onnx.save(model, path)


class _Pictures:
    """Two seeded pictures for the ranges."""

    def __init__(self, path: Path) -> None:
        value = onnx.load(path, load_external_data=False).graph.input[0]
        shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        random = np.random.default_rng(0)
        self.left: Iterator[dict[str, Any]] = iter(
            [{value.name: random.normal(0, 1, shape).astype(np.float32)} for _ in range(2)]
        )

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def _quantize(plain: Path, path: Path) -> None:
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = plain.with_suffix(".ready.onnx")
    quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
    quantize_static(
        str(ready), str(path), _Pictures(ready), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    ready.unlink()


def main(arguments: list[str]) -> int:
    folder, *names = arguments
    wanted: Callable[[str], bool] = lambda key: not names or key in names  # noqa: E731
    for key, original in ORIGINALS.items():
        if wanted(key):
            print(write(key, Path(folder)) if available(original) else f"left out: {key} needs {original.package}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
