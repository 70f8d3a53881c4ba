"""Child process: small float TFLite files, one for each group of operators, with what TensorFlow Lite answers.

Writes ``NAME.tflite`` and ``NAME.npz`` (inputs as ``in0`` ..., outputs as ``out0`` ... in the file's order) into the
folder given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

RNG = np.random.default_rng(7)
IMAGE = (1, 13, 10, 6)


def weights(*shape: int) -> tf.Tensor:
    return tf.constant(RNG.standard_normal(shape).astype(np.float32) * 0.4)


def convolutions(x):
    for stride in (1, 2, 3):
        for padding in ("SAME", "VALID"):
            y = tf.nn.conv2d(x, weights(3, 5, 6, 4), stride, padding) + weights(4)
            yield tf.nn.relu6(y)
            yield tf.nn.depthwise_conv2d(x, weights(3, 3, 6, 2), [1, stride, stride, 1], padding)
    yield tf.nn.relu(tf.nn.conv2d(x, weights(3, 3, 6, 4), 1, "VALID", dilations=2))
    for stride, padding, size in (
        (2, "SAME", (26, 20)),
        (2, "VALID", (27, 21)),
        (3, "SAME", (37, 28)),
        (1, "SAME", (13, 10)),
    ):
        yield tf.nn.conv2d_transpose(x, weights(3, 3, 5, 6), (1, *size, 5), stride, padding)


def pools(x):
    for padding in ("SAME", "VALID"):
        yield tf.nn.max_pool2d(x, (3, 2), 2, padding)
        yield tf.nn.avg_pool2d(x, (3, 2), 2, padding)
    yield tf.reduce_mean(x, [1, 2])
    yield tf.reduce_sum(x, [3], keepdims=True)
    yield tf.reduce_max(x, [0, 2])
    yield tf.reduce_min(x, [1])
    yield tf.reduce_prod(x, [3])
    yield tf.cast(tf.argmax(x, 3, output_type=tf.int32), tf.float32)
    yield tf.cast(tf.argmin(x[0, :, :, 0], 0, output_type=tf.int32), tf.float32)


def resizes(x):
    for size in ((26, 20), (20, 15), (7, 5), (25, 19)):
        for method in (tf.compat.v1.image.resize_bilinear, tf.compat.v1.image.resize_nearest_neighbor):
            yield method(x, size)
            yield method(x, size, align_corners=True)
            yield method(x, size, half_pixel_centers=True)
    yield tf.nn.depth_to_space(x[..., :4], 2)
    yield tf.nn.space_to_depth(x[:, :12], 2)


def functions(x):
    y = x + 3.0
    for f in (
        tf.abs,
        tf.sin,
        tf.cos,
        tf.exp,
        tf.floor,
        tf.math.ceil,
        tf.nn.elu,
        tf.nn.tanh,
        tf.nn.sigmoid,
        tf.round,
        tf.square,
    ):
        yield f(x)
    yield from (
        tf.sqrt(tf.abs(y)),
        tf.math.rsqrt(tf.abs(y) + 1),
        tf.math.log(tf.abs(y) + 1),
        -x,
        tf.nn.leaky_relu(x, 0.3),
    )
    yield x * tf.nn.relu6(x + 3) / 6
    yield x * (tf.nn.relu6(x + np.float32(3.0)) * np.float32(1 / 6))
    yield x / (tf.abs(y) + 1) + tf.cast(tf.equal(tf.round(x), tf.floor(y)), tf.float32)
    yield tf.clip_by_value(x, -1.0, 1.0)
    yield tf.cast(tf.logical_and(x <= y, y < tf.sin(x)), tf.float32)
    yield tf.maximum(x, weights(10, 1)) - tf.minimum(x, weights(1, 13, 1, 6)) * weights(6) / (
        tf.abs(weights(13, 10, 6)) + 1
    )
    yield tf.where(x > weights(6), x, y) + tf.where(tf.logical_or(x < 0.0, y >= 3.5), y, x)
    yield tf.cast(tf.logical_and(tf.not_equal(x, 0.0), tf.logical_not(x <= 0.3)), tf.float32)
    yield tf.math.squared_difference(x, weights(10, 6)) ** 2.0
    yield tf.math.floordiv(x, 0.7) + tf.math.floormod(x, -0.7)
    n = tf.cast(x * 9, tf.int32)
    yield tf.cast(n // 4 + n % -5, tf.float32)
    yield tf.nn.softmax(x * 2.5) + tf.nn.l2_normalize(x, -1)
    yield x + tf.reduce_mean(x, [0, 1, 2])
    yield tf.nn.gelu(x) + tf.nn.gelu(y, approximate=True)
    yield tf.nn.log_softmax(x * 2.5)
    yield tf.cumsum(x, 2) + tf.cumsum(y, 3, exclusive=True) - tf.cumsum(x, 1, reverse=True)
    yield tf.add_n([x, y, x * y])


def moves(x):
    yield tf.concat([x, x[..., :2] * 2], 3)
    yield tf.concat([x, x[:, 3:7]], 1)
    yield tf.stack([x[0], x[0] * 2], 0)
    yield tf.stack([x[0], x[0] * 2], 2)
    yield from tf.unstack(x, axis=1)[:2]
    yield from tf.unstack(x, axis=3)[:2]
    yield from tf.split(x, 2, axis=3)
    yield from tf.split(x, [4, 9], axis=1)
    yield x[:, 2:-1:2, ::-1, 1:]
    yield x[0, :, 3]
    yield tf.slice(x, [0, 1, 2, 3], [1, -1, 4, 2])
    yield tf.reshape(x, (1, 130, 6))
    yield tf.reshape(x, (10, 13, 6))
    yield tf.reshape(x, (1, 780))
    yield tf.reshape(tf.reshape(x, (26, 5, 6)) * 2, (1, 13, 10, 6))
    yield tf.transpose(x, (0, 3, 1, 2)) * 2
    yield tf.transpose(tf.transpose(x, (0, 2, 3, 1)) + 1, (2, 0, 1, 3))
    yield tf.squeeze(x, 0)[..., None]
    yield tf.pad(x, ((0, 0), (1, 2), (0, 3), (2, 0)))
    yield tf.pad(x, ((0, 0), (1, 2), (0, 3), (0, 0)), constant_values=-1.5)
    yield tf.pad(x, ((0, 0), (1, 2), (3, 0), (0, 0)), mode="REFLECT")
    yield tf.gather(x, [5, 0, 3], axis=3)
    yield tf.gather_nd(x, [[0, 2, 3, 1], [0, 12, 9, 5]])
    yield tf.tile(x, (1, 2, 1, 3))
    yield tf.broadcast_to(x[:, :1], IMAGE) * 2


def products(x):
    flat = tf.reshape(x, (13, 60))
    yield tf.nn.relu(tf.matmul(flat, weights(60, 7)) + weights(7))
    yield tf.matmul(tf.reshape(x, (2, 65, 6)), weights(6, 5))
    yield tf.matmul(x[0], x[0] * 2, transpose_b=True)
    yield tf.matmul(x[0], x[0] * 2, transpose_a=True)
    yield tf.nn.softmax(tf.matmul(flat, flat, transpose_b=True))


def without_layers(x):
    """Nothing here has channels: TFLite's order is kept."""
    yield tf.nn.relu(x @ weights(6, 5) + 1.0)
    yield tf.reduce_mean(x * weights(6), -1)
    yield tf.transpose(x, (0, 1, 3, 2))[:, ::2]


def open_batch(x):
    """The file computes sizes, as for layers of Keras on more than two axes."""
    y = tf.nn.relu(tf.tensordot(x, weights(6, 5), [[3], [0]]) + weights(5))
    yield y
    yield tf.nn.gelu(tf.tensordot(y, weights(5, 4), [[3], [0]]))
    yield tf.reshape(y, [tf.shape(y)[0], -1])


GROUPS: dict[str, Callable[[tf.Tensor], object]] = {
    f.__name__: f for f in (convolutions, pools, resizes, functions, moves, products, without_layers, open_batch)
}


def main(folder: Path) -> None:
    for name, group in GROUPS.items():
        for half in (False, True) if name == "convolutions" else (False,):
            write(folder / (f"{name}_float16" if half else name), group, half)


def write(path: Path, group: Callable[[tf.Tensor], object], half: bool) -> None:
    spatial = path.name not in ("without_layers", "open_batch")
    shape = [None, *IMAGE[1:]] if path.name == "open_batch" else IMAGE

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def run(x):
        found = list(group(x))
        return [*found, tf.nn.conv2d(x, weights(1, 1, 6, 1), 1, "SAME")] if spatial else found

    converter = tf.lite.TFLiteConverter.from_concrete_functions([run.get_concrete_function()])
    if half:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_types = [tf.float16]
    content = converter.convert()
    path.with_suffix(".tflite").write_bytes(content)
    lite = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=PLAIN)
    lite.allocate_tensors()
    image = RNG.standard_normal(IMAGE).astype(np.float32)
    lite.set_tensor(lite.get_input_details()[0]["index"], image)
    lite.invoke()
    outputs = {detail["name"]: lite.get_tensor(detail["index"]) for detail in lite.get_output_details()}
    np.savez(path.with_suffix(".npz"), image=image, **{f"out:{key}": value for key, value in outputs.items()})


PLAIN = tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES

if __name__ == "__main__":
    main(Path(sys.argv[1]))
