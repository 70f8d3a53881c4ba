"""Seeded encoders, tokens, embedding on the board, accuracy, and wrong input."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

pytest.importorskip("n6convert_tinybert")
from n6convert_tinybert import TinyBert, TinyBertOptions
from n6convert_tinybert.architecture import Shape, build_encoder, seeded_embedding
from n6convert_tinybert.board import embedding_firmware, embedding_tables
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.folder import HuggingFaceFolder
from n6convert_tinybert.tokens import HashedTokens, folder_tokens

from n6convert.errors import SourceError
from n6convert.metrics.classification import Classes
from n6convert.package.csource import interface_header
from n6convert.package.ports import Port
from n6convert.plugin import BuildRequest, ModelInfo, Sample, Weights
from n6convert.runtime.session import Session, run_model
from n6convert.samples import open_samples

SMALL = {"sequence": 12, "layers": 2, "hidden": 24, "heads": 3, "intermediate": 40, "vocabulary": 50}
FOLDER = "weights/bert_tiny_sst2"
STEM = "n6_bert"


def seeded(tmp_path: Path, **options: object) -> tuple[TinyBert, Session]:
    plugin = TinyBert("tinybert", TinyBertOptions.model_validate(SMALL | options))
    built = plugin.build(BuildRequest(Weights("seeded"), 3, tmp_path))
    plugin.info = ModelInfo((), (), built.metadata)
    plugin.restore(Weights("seeded"), 3)
    return plugin, Session(built.model, threads=1)


@pytest.mark.parametrize(
    ("task", "shape"), [("classification", (1, 2)), ("embedding", (1, 12, 24)), ("tokens", (1, 12, 50))]
)
def test_seeded_tasks(tmp_path: Path, task: str, shape: tuple[int, ...]) -> None:
    plugin, session = seeded(tmp_path, task=task)
    sample = Sample("x", "a line of text")
    outputs = session.run(plugin.encode(sample))
    assert [array.shape for array in outputs.values()] == [shape]
    answer = plugin.decode(outputs, sample)
    if task == "classification":
        assert isinstance(answer, Classes)
    else:
        assert answer.shape == {"embedding": (24,), "tokens": (12,)}[task]
    assert (plugin.metric() is not None) == (task != "tokens")


def test_seed_decides_every_number() -> None:
    shape = Shape(1, 24, 3, 40, 50, 12, "embedding")
    feeds = {"embedded": np.ones((1, 12, 24), np.float32), "mask": np.zeros((1, 1, 1, 12), np.float32)}
    first, again, other = (run_model(build_encoder(shape, s), feeds)["hidden"] for s in (1, 1, 2))
    assert np.array_equal(first, again) and not np.allclose(first, other)
    assert np.array_equal(seeded_embedding(shape, 1).words, seeded_embedding(shape, 1).words)


def test_generator_has_the_published_architecture() -> None:
    import yaml

    recipe = Path(__file__).parents[3] / "recipes/tinybert-generator.yaml"
    options = TinyBertOptions.model_validate(yaml.safe_load(recipe.read_text())["options"])
    plugin = TinyBert("tinybert", options)
    model = build_encoder(plugin._shape(), 0)
    kinds = Counter(node.op_type for node in model.graph)
    assert (kinds["Softmax"], kinds["LayerNormalization"], kinds["Erf"]) == (4, 8, 4)
    output = model.graph.outputs[0]
    assert output.shape is not None and tuple(output.shape.numpy()) == (1, 100, 66)


def test_padding_does_not_reach_the_answer(tmp_path: Path) -> None:
    plugin, session = seeded(tmp_path)
    feeds = plugin.encode(Sample("x", "short"))
    outputs = session.run(feeds)["logits"]
    changed = feeds["embedded"].copy()
    changed[0, 6:] += 0.5
    moved = session.run(feeds | {"embedded": changed})["logits"]
    assert np.abs(moved - outputs).max() < 1e-3
    open_mask = session.run({"embedded": changed, "mask": feeds["mask"] * 0})["logits"]
    assert np.abs(open_mask - outputs).max() > 1e-2


def test_mean_of_real_tokens_only(tmp_path: Path) -> None:
    plugin, _ = seeded(tmp_path, task="embedding")
    hidden = np.zeros((1, 12, 24), np.float32)
    hidden[0, :3], hidden[0, 3:] = 2.0, 50.0
    assert np.allclose(plugin.decode({"hidden": hidden}, Sample("x", "abc")), 2.0)


def test_pieces_without_a_vocabulary() -> None:
    ids, real = HashedTokens(66, 5)("abcabcabc")
    assert ids[0] == ids[3] and len(set(ids[:3])) == 3 and real.all() and ids.min() > 0
    ids, real = HashedTokens(30522, 5)("two words")
    assert real.sum() == 2 and (ids[2:] == 0).all()


def test_accuracy_on_sst2(data_dir: Path, tmp_path: Path) -> None:
    weights = Weights("file", data_dir / FOLDER)
    plugin = TinyBert("tinybert", TinyBertOptions(sequence=64))
    built = plugin.build(BuildRequest(weights, 0, tmp_path))
    plugin.info = ModelInfo((), (), built.metadata)
    session = Session(built.model, threads=1)
    right = []
    for table in ("float32", "int8"):
        other = TinyBert("tinybert", TinyBertOptions(sequence=64, table=table))
        other.info = plugin.info
        other.restore(weights, 0)
        metric = other.metric()
        assert metric is not None
        for sample in open_samples(data_dir / "text/glue_sst2_dev.tsv", "text"):
            metric.add(sample, other.decode(session.run(other.encode(sample)), sample))
        right.append(round(metric.score().value * 872))
    assert right[0] == 694
    assert abs(right[1] - 694) <= 2


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float32"])
@pytest.mark.parametrize("table", ["float32", "int8"])
def test_board_embeds_bit_for_bit(tmp_path: Path, compile_c, table: str, dtype: str) -> None:
    embedding = seeded_embedding(Shape(1, 24, 3, 40, 50, 12, "embedding"), 0)
    embedding = embedding.rounded() if table == "int8" else embedding
    scale = float(np.float32(np.abs(embedding(np.arange(12))).max() / 100))
    ports = [Port("embedded", (1, 12, 24), scale, -5, False), Port("mask", (1, 1, 1, 12), 16 / 200, 100, False)]
    ports = [port.compiled_as(dtype) for port in ports]
    firmware = embedding_firmware(STEM, embedding, table, -16.0, 7)
    header = interface_header(STEM, ports, [], None, firmware.defines)
    library = compile_c(tmp_path, {f"{STEM}.h": header} | firmware.sources)
    for name, content in embedding_tables(embedding, table).items():
        (tmp_path / name).write_bytes(content)
    tokens = np.array([3, 49, 0, 11], np.int32)
    out, mask = np.zeros((12, 24), dtype), np.zeros(12, dtype)
    tables = Tables(tmp_path)

    def embed(tokens: np.ndarray, count: int) -> int:
        grid = (ctypes.c_float(ports[0].scale), ports[0].zero_point)
        return library.n6_bert_embed(ctypes.byref(tables), pointer(tokens), count, *grid, pointer(out))

    assert embed(tokens, 4) == 0
    expected = embedding(np.concatenate([tokens, np.full(8, 7)]))
    assert np.array_equal(out, ports[0].to_board(expected)[0])
    assert library.n6_bert_mask(4, ctypes.c_float(ports[1].scale), ports[1].zero_point, pointer(mask)) == 0
    assert np.array_equal(mask, ports[1].to_board(np.array([[[[0.0] * 4 + [-16.0] * 8]]])).reshape(-1))
    for count, first in ((13, 3), (1, 50), (1, -1)):
        assert embed(np.full(13, first, np.int32), count) == -1


class Tables(ctypes.Structure):
    """The C side's tables over the package's files."""

    _fields_ = [(name, ctypes.c_void_p) for name in ("words", "scales", "positions", "norm")]

    def __init__(self, folder: Path) -> None:
        files = [folder / f"embedding_{name}.bin" for name in ("words", "scales", "positions", "norm")]
        self.kept = [np.fromfile(f, np.uint8) if f.exists() else None for f in files]
        super().__init__(*[None if k is None else k.ctypes.data for k in self.kept])


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def test_int8_table_rounds_by_half_a_step() -> None:
    words = np.random.default_rng(0).standard_normal((20, 8)).astype(np.float32)
    words[3] = 0
    embedding = Embedding(words, np.zeros((4, 8), np.float32), np.ones(8, np.float32), np.zeros(8, np.float32), 1e-12)
    step = np.abs(words).max(1, keepdims=True) / 127
    assert (np.abs(embedding.rounded().words - words) <= step / 2 + 1e-7).all()


def test_contract() -> None:
    from n6convert.testing import check_plugin

    check_plugin("tinybert", options=SMALL | {"layers": 1, "sequence": 8})


def test_no_framework_in_this_process() -> None:
    code = "import n6convert_tinybert, sys; assert not {'torch', 'transformers', 'tensorflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options() -> None:
    with pytest.raises(ValidationError, match="multiple of heads"):
        TinyBertOptions(hidden=100, heads=3)
    with pytest.raises(ValidationError, match="less than 0"):
        TinyBertOptions(mask=5)


def config(folder: Path, **content: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"} | content))
    return folder


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no config.json"):
        HuggingFaceFolder.open(tmp_path)
    with pytest.raises(SourceError, match="not BERT-like") as caught:
        HuggingFaceFolder.open(config(tmp_path / "gpt", model_type="gpt2"))
    assert "gpt2" in str(caught.value) and "roberta" in str(caught.value)
    with pytest.raises(SourceError, match="not BERT-like") as caught:
        HuggingFaceFolder.open(config(tmp_path / "nameless", model_type=None))
    assert "no model_type" in str(caught.value) and '"bert"' in str(caught.value)
    folder = config(tmp_path / "bert")
    with pytest.raises(SourceError, match="holds no weights"):
        HuggingFaceFolder.open(folder).embedding(8)
    with pytest.raises(SourceError, match="has no tokenizer"):
        folder_tokens(folder, 8, 0)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(SourceError, match="tokenizer cannot be read"):
        folder_tokens(folder, 8, 0)
    (folder / "config.json").write_text("[1, 2")
    with pytest.raises(SourceError, match="config.json cannot be read"):
        HuggingFaceFolder.open(folder)
    with pytest.raises(SourceError, match="Hugging Face folders") as caught:
        HuggingFaceFolder.open(folder / "tokenizer.json")
    assert f"--weights {folder}" in str(caught.value)


def test_weights_without_embedding(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    folder = config(tmp_path / "bert")
    save_file({"layer.weight": np.zeros((2, 2), np.float32)}, folder / "model.safetensors")
    with pytest.raises(SourceError, match="no BERT embedding") as caught:
        HuggingFaceFolder.open(folder).embedding(8)
    assert "layer.weight" in str(caught.value)


def test_arrays_are_not_sentences(tmp_path: Path) -> None:
    plugin, _ = seeded(tmp_path)
    with pytest.raises(SourceError, match="take sentences"):
        plugin.encode(Sample("x", np.zeros(3)))
