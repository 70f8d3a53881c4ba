"""The seeded network against the published one, and against what is known of the one that is not here."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

pytest.importorskip("n6convert_movenet")
from n6convert_movenet.architecture import FOUR_HEADS, HEATMAP_HEAD, build_network, scaled

from n6convert.runtime.session import run_model

REAL = "weights/movenet_lightning_heatmaps_192_float.onnx"
#: bytes of the published float16 files (two a weight, the rest tables and structure)
PUBLISHED = {1.0: 4_758_512, 1.75: 12_584_128}


def kinds(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def weight_shapes(model: ir.Model) -> Counter[tuple[int, ...]]:
    arrays = (v.const_value for v in model.graph.initializers.values() if v.const_value is not None)
    return Counter(tuple(a.shape.numpy()) for a in arrays if len(a.shape) == 4)


def test_same_operators_and_weights_as_the_published_network(data_dir: Path) -> None:
    ours = build_network(width=1.0, heads=HEATMAP_HEAD, keypoints=13, imgsz=192, seed=0)
    theirs = ir.load(data_dir / REAL)
    assert kinds(ours) == kinds(theirs) - Counter({"Transpose": 1})
    assert weight_shapes(ours) == weight_shapes(theirs)


@pytest.mark.parametrize("width", PUBLISHED)
def test_parameters_fit_the_published_file(width: float) -> None:
    model = build_network(width=width, heads=FOUR_HEADS, keypoints=17, imgsz=192, seed=0)
    parameters = sum(v.const_value.size for v in model.graph.initializers.values() if v.const_value is not None)
    assert 0.95 < 2 * parameters / PUBLISHED[width] < 1.0


@pytest.mark.parametrize("imgsz", [192, 224, 256])
def test_outputs_are_a_quarter_of_the_input(imgsz: int) -> None:
    model = build_network(width=1.0, heads=FOUR_HEADS, keypoints=17, imgsz=imgsz, seed=0)
    cells = imgsz // 4
    shapes = {v.name: tuple(v.shape.numpy()) for v in model.graph.outputs if v.shape is not None}
    assert shapes == {
        "center": (1, 1, cells, cells),
        "heatmaps": (1, 17, cells, cells),
        "regression": (1, 34, cells, cells),
        "offsets": (1, 34, cells, cells),
    }


def test_seed_decides_every_number() -> None:
    image = np.random.default_rng(0).uniform(-1, 1, (1, 3, 64, 64)).astype(np.float32)
    models = [build_network(width=1.0, heads=HEATMAP_HEAD, keypoints=13, imgsz=64, seed=s) for s in (1, 1, 2)]
    first, again, other = (run_model(m, {"image": image})["heatmaps"] for m in models)
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    assert first.std() > 0.02 and 0.001 < first.mean() < 0.999


def test_channels_round_like_mobilenet() -> None:
    assert [scaled(c * 1.75) for c in (16, 24, 32, 64, 96, 160, 320)] == [32, 40, 56, 112, 168, 280, 560]
