"""Probing a plugin's encode finds channel order, gain and offset."""

from __future__ import annotations

import numpy as np
import pytest

from n6convert.package.normalization import probe_pixels
from n6convert.package.ports import Port
from n6convert.plugin import ModelPlugin, PluginOptions

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


class Net(ModelPlugin):
    sample_kind = "image"
    channels_first = True

    def build(self, request):
        raise NotImplementedError

    def transform(self, image):
        return (image / 255 - MEAN) / STD

    def encode(self, sample):
        x = self.transform(sample.data.astype(np.float64))
        return {"x": (x.transpose(2, 0, 1) if self.channels_first else x)[None]}


class Bgr(Net):
    channels_first = False

    def transform(self, image):
        return image[..., ::-1] / 127.5 - 1


class Unit(Net):
    channels_first = False

    def transform(self, image):
        return image / 255


class Squared(Net):
    def transform(self, image):
        return (image / 255) ** 2


class Mixed(Net):
    def transform(self, image):
        return np.repeat(image.mean(2, keepdims=True), 3, 2)


def net(kind):
    return kind("net", PluginOptions())


def test_mean_and_std_become_gain_and_offset():
    port = Port("x", (1, 3, 16, 24), 0.02, 4, True)
    found = probe_pixels(net(Net), port)
    assert found is not None
    assert found.order == "RGB"
    np.testing.assert_allclose(found.gain, 1 / 255 / STD / 0.02, rtol=1e-6)
    np.testing.assert_allclose(found.offset, -MEAN / STD / 0.02 + 4, rtol=1e-6)
    assert not found.is_shift
    assert not found.is_copy


def test_bgr_channels_last_at_127_5():
    found = probe_pixels(net(Bgr), Port("x", (1, 16, 24, 3), 1 / 127.5, 0, False))
    assert found is not None
    assert found.order == "BGR"
    np.testing.assert_allclose(found.gain, [1, 1, 1], rtol=1e-6)


@pytest.mark.parametrize(("dtype", "shift"), [("int8", -128), ("uint8", 0)])
def test_bytes_of_a_camera_as_they_are(dtype, shift):
    found = probe_pixels(net(Bgr), Port("x", (1, 16, 24, 3), 1 / 127.5, 0 - 1, False).compiled_as(dtype))
    assert found is not None
    np.testing.assert_allclose(found.offset, shift - 0.5, atol=1e-4)
    exact = probe_pixels(net(Unit), Port("x", (1, 16, 24, 3), 1 / 255, -128, False).compiled_as(dtype))
    assert exact is not None
    assert (exact.is_copy, exact.is_shift) == (dtype == "uint8", dtype == "int8")
    real = probe_pixels(net(Unit), Port("x", (1, 16, 24, 3), 1 / 255, -128, False).compiled_as("float32"))
    assert real is not None
    np.testing.assert_allclose([*real.gain, *real.offset], [1 / 255] * 3 + [0] * 3, atol=1e-9)


@pytest.mark.parametrize("kind", [Squared, Mixed])
def test_no_pixel_map_where_there_is_none(kind):
    assert probe_pixels(net(kind), Port("x", (1, 3, 16, 16), 0.01, 0, True)) is None


def test_the_map_quantizes_like_the_port():
    port = Port("x", (1, 3, 16, 16), 0.02, 4, True)
    plugin, rng = net(Net), np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    pixels = probe_pixels(plugin, port)
    assert pixels is not None
    direct = np.clip(np.rint(image * np.array(pixels.gain) + np.array(pixels.offset)), -128, 127)
    through = port.to_board(plugin.transform(image.astype(np.float64)).transpose(2, 0, 1)[None])[0]
    assert np.abs(direct - through).max() <= 1
    assert (direct != through).mean() < 0.01
