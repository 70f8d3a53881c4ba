from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from n6convert.rewrites import RewriteConfig, rewrite

from .helpers import NEW, OLD, software


@pytest.mark.parametrize("target", [OLD, NEW])
@pytest.mark.parametrize(
    ("file", "before"), [("movenet_lightning_heatmaps_192_float.onnx", 3), ("mobilefacenet_fp32.onnx", 9)]
)
def test_real_networks_leave_the_cpu(data_dir: Path, file: str, before: int, target: str) -> None:
    model = ir.load(data_dir / "weights" / file)
    image = model.graph.inputs[0]
    image.shape = ir.Shape([1, *list(image.shape or [])[1:]])
    result = rewrite(model, None, RewriteConfig(), target=target)
    assert sum(software(model, target).values()) == before
    assert not software(result.model, target)
    assert result.after < result.before
