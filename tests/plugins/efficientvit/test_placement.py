"""Contract, and where the INT8 network runs: nothing on the CPU, and still the same answers."""

from __future__ import annotations

import numpy as np
from n6convert_efficientvit import EfficientVit, EfficientVitOptions
from n6convert_efficientvit.architecture import Architecture
from n6convert_efficientvit.network import build_network
from n6convert_efficientvit.parameters import seeded_parameters

from n6convert.builtin.images import ImageFormat
from n6convert.npu.placement import place, read, report
from n6convert.quantization import quantize
from n6convert.recipe.quantization import QuantizationConfig
from n6convert.recipe.rewrite import RewriteConfig
from n6convert.rewrites import rewrite
from n6convert.runtime.comparison import sqnr_db
from n6convert.runtime.session import run_model
from n6convert.samples import synthetic_samples
from n6convert.testing import check_plugin

SMALL = Architecture((8, 16, 16, 32, 32), (1, 1, 1, 1, 1), 16, (64, 96), classes=10)


def test_contract() -> None:
    check_plugin("efficientvit", options={"imgsz": 64}, convert=False)


def test_every_epoch_runs_on_the_npu_and_answers_stay() -> None:
    assert EfficientVit.Options is EfficientVitOptions
    form = ImageFormat("nchw", 128, 128, 3, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), fit="crop")
    images = [form.encode(np.asarray(s.data), "images") for s in synthetic_samples("image", count=10)]
    feeds = [{"images": image} for image in images]
    model = build_network(seeded_parameters(SMALL, 0), (128, 128))
    done = rewrite(model, lambda: feeds[:1], RewriteConfig(), target="stm32n6570-dk@4.0")
    assert done.before is not None and done.after is not None and done.after < done.before / 2
    rewritten = done.model
    int8 = quantize(
        rewritten, lambda: feeds[:8], QuantizationConfig(ranges="minmax"), held_back=lambda: feeds[8:]
    ).model
    for target in ((4, 0),):
        _, plan = place(read(int8), target)
        counts = report(plan, target).epochs
        assert (counts.sw, counts.hybrid) == (0, 0)
    noise = [sqnr_db(run_model(model, f)["logits"], run_model(int8, f)["logits"]) for f in feeds[8:]]
    assert min(noise) >= 20
