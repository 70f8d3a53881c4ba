"""Child process: TensorFlow files built like Google's MoveNet, small, with CropAndDecode in the graph.

Writes into the folder given: ``saved_model`` (int32 pixels in, [1,1,17,3] out), ``movenet.tflite`` (the same with
float16 weights, as published), ``heatmaps.keras`` (heat maps alone, normalized pixels in), ``int8.tflite`` (that
quantized) and ``truth.npz`` (pixels and the original's answer).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

SIDE, CELLS, KEYPOINTS = 64, 16, 17


def network() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    image = layers.Input((SIDE, SIDE, 3), batch_size=1)
    x = layers.Conv2D(12, 3, 2, "same", activation="relu6")(image)
    x = layers.Conv2D(16, 3, 2, "same", activation="relu6")(x)
    low = layers.UpSampling2D(2, interpolation="bilinear")(layers.Conv2D(16, 3, 2, "same", activation="relu6")(x))
    x = layers.Add()([x, low])
    heads = []
    widths = {"center": 1, "regression": 2 * KEYPOINTS, "heatmaps": KEYPOINTS, "offsets": 2 * KEYPOINTS}
    for name, channels in widths.items():
        spread = tf.keras.initializers.RandomNormal(stddev=1.5, seed=len(name))
        y = layers.Conv2D(24, 3, 1, "same", activation="relu")(x)
        heads.append(layers.Conv2D(channels, 1, name=name, kernel_initializer=spread)(y))
    return tf.keras.Model(image, heads)


def decoded(center, regression, heatmaps, offsets):
    """CropAndDecode: [1,1,17,3] of y, x, score."""
    size = float(CELLS)
    ys, xs = (g.astype(np.float32) for g in np.mgrid[0:CELLS, 0:CELLS])
    center, heatmaps = tf.sigmoid(center), tf.sigmoid(heatmaps)
    middle = center[0, :, :, 0] / (np.hypot(ys - size / 2, xs - size / 2) + 1.8)
    best = tf.argmax(tf.reshape(middle, [-1]), output_type=tf.int32)
    place = tf.stack([0, best // CELLS, best % CELLS])
    coarse = tf.reshape(tf.gather_nd(regression, place), [KEYPOINTS, 2])
    coarse += tf.cast(tf.stack([best // CELLS, best % CELLS])[None], tf.float32)
    distance = tf.sqrt((ys[..., None] - coarse[:, 0]) ** 2 + (xs[..., None] - coarse[:, 1]) ** 2) + 1.8
    scores = tf.reshape(heatmaps[0] / distance, [-1, KEYPOINTS])
    cell = tf.argmax(scores, axis=0, output_type=tf.int32)
    rows, columns, index = cell // CELLS, cell % CELLS, tf.range(KEYPOINTS)
    zeros = tf.zeros_like(rows)
    moved = [tf.gather_nd(offsets, tf.stack([zeros, rows, columns, 2 * index + i], 1)) for i in (0, 1)]
    score = tf.gather_nd(heatmaps, tf.stack([zeros, rows, columns, index], 1))
    y = (tf.cast(rows, tf.float32) + moved[0]) / size
    x = (tf.cast(columns, tf.float32) + moved[1]) / size
    return tf.stack([y, x, score], 1)[None, None]


class Original(tf.Module):
    def __init__(self, net: tf.keras.Model) -> None:
        super().__init__()
        self.net = net

    @tf.function(input_signature=[tf.TensorSpec([1, SIDE, SIDE, 3], tf.int32)])
    def serve(self, image):
        return {"output_0": decoded(*self.net(tf.cast(image, tf.float32) * (1 / 127.5) - 1.0))}


def main(folder: Path) -> None:
    net = network()
    original = Original(net)
    tf.saved_model.save(original, str(folder / "saved_model"), signatures=original.serve)
    frozen = convert_variables_to_constants_v2(original.serve.get_concrete_function())
    converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (folder / "movenet.tflite").write_bytes(converter.convert())
    heatmaps = tf.keras.Model(net.input, tf.keras.layers.Activation("sigmoid")(net.output[2]))
    heatmaps.save(folder / "heatmaps.keras")
    converter = tf.lite.TFLiteConverter.from_keras_model(heatmaps)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.int8
    rng = np.random.default_rng(0)
    images = [rng.uniform(-1, 1, (1, SIDE, SIDE, 3)).astype(np.float32) for _ in range(8)]
    converter.representative_dataset = lambda: ([image] for image in images)
    (folder / "int8.tflite").write_bytes(converter.convert())
    pixels = rng.integers(0, 256, (1, SIDE, SIDE, 3))
    answer = original.serve(tf.constant(pixels, tf.int32))["output_0"]
    np.savez(folder / "truth.npz", pixels=pixels.astype(np.uint8), answer=answer.numpy())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
