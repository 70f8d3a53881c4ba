"""Real exports through optimum: one of every architecture, and folders that cannot be exported."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("n6convert_tinybert")
from n6convert_tinybert import TinyBert, TinyBertOptions
from n6convert_tinybert.embedding import Embedding
from n6convert_tinybert.export import export_graph
from n6convert_tinybert.folder import HuggingFaceFolder
from n6convert_tinybert.plugin import _FILES, _HUB, _REVISION
from n6convert_tinybert.proof import check_cut
from n6convert_tinybert.surgery import cut_encoder

from n6convert.errors import SourceError, ToolError
from n6convert.plugin import BuildRequest, FloatModel, Weights

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"word{i}" for i in range(195))]
OUTPUTS = {"bert": (1, 3), "encoder": (1, 16, 32), "masked": (1, 16, 200), "roberta": (1, 2), "electra": (1, 2)}
OUTPUTS["distilbert"] = (1, 2)
OUTSIDE = {"Gather", "Where", "Equal", "Expand", "Shape", "Cast", "Unsqueeze"}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small Hugging Face folders (see make_folders.py)."""
    if any(find_spec(name) is None for name in ("torch", "transformers", "optimum")):
        pytest.skip("torch, transformers or optimum-onnx is not installed")
    root = tmp_path_factory.mktemp("hub")
    vocabulary = root / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n")
    command = [sys.executable, Path(__file__).with_name("make_folders.py"), root, vocabulary]
    environment = os.environ | {"USE_TF": "0"}
    child = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert child.returncode == 0, child.stderr[-2000:]
    return root


def built(folder: Path, scratch: Path, **options: object) -> FloatModel:
    scratch.mkdir(exist_ok=True)
    plugin = TinyBert("tinybert", TinyBertOptions.model_validate({"sequence": 16} | options))
    return plugin.build(BuildRequest(Weights("file", folder), 0, scratch))


@pytest.mark.parametrize("name", ["bert", "electra", "distilbert"])
def test_architectures(folders: Path, tmp_path: Path, name: str) -> None:
    """``build`` itself proves that lookup, cut and mask together are the exported model."""
    model = built(folders / name, tmp_path / "scratch").model
    assert [v.name for v in model.graph.inputs] == ["embedded", "mask"]
    output = model.graph.outputs[0]
    assert output.shape is not None and tuple(output.shape.numpy()) == OUTPUTS[name]
    kinds = Counter(node.op_type for node in model.graph)
    assert kinds["Softmax"] == 1 and not OUTSIDE & kinds.keys()


@pytest.mark.parametrize(("name", "output"), [("encoder", "hidden"), ("masked", "logits")])
def test_tasks_come_from_the_folder(folders: Path, tmp_path: Path, name: str, output: str) -> None:
    built_model = built(folders / name, tmp_path / "scratch")
    value = built_model.model.graph.outputs[0]
    assert value.name == output and value.shape is not None and tuple(value.shape.numpy()) == OUTPUTS[name]
    assert built_model.metadata["task"] == {"encoder": "embedding", "masked": "tokens"}[name]
    assert not OUTSIDE & {node.op_type for node in built_model.model.graph}


def test_weights_from_before_torch_1_6(folders: Path, tmp_path: Path) -> None:
    assert built(folders / "old", tmp_path / "scratch").metadata["task"] == "embedding"
    old, new = (HuggingFaceFolder.open(folders / name).embedding(16) for name in ("old", "encoder"))
    assert np.array_equal(old.words, new.words) and np.array_equal(old.positions, new.positions)
    damaged = copied(folders, tmp_path, "old") / "pytorch_model.bin"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    with pytest.raises(SourceError, match="damaged"):
        HuggingFaceFolder.open(damaged.parent).embedding(16)


def test_classes_keep_their_names(folders: Path) -> None:
    assert HuggingFaceFolder.open(folders / "bert").labels == ("bad", "good", "so so")


def test_positions_after_padding(folders: Path, tmp_path: Path) -> None:
    """RoBERTa counts positions from the padding token's number: 34 rows are 32 tokens."""
    assert built(folders / "roberta", tmp_path / "scratch", sequence=32).metadata["task"] == "classification"
    with pytest.raises(SourceError, match="longer than the model's position table") as caught:
        built(folders / "roberta", tmp_path / "scratch", sequence=33)
    assert "at most 32 tokens" in str(caught.value) and "options.sequence=32" in str(caught.value)


def test_proof_notices_wrong_tables_and_small_masks(folders: Path, tmp_path: Path) -> None:
    folder = HuggingFaceFolder.open(folders / "encoder")
    whole = export_graph(folder.path, "feature-extraction", 16, tmp_path)
    cut = cut_encoder(whole.clone(), 16, ("last_hidden_state",))
    right = folder.embedding(16)
    wrong = Embedding(right.words, right.positions[::-1], right.gamma, right.beta, right.epsilon)
    check_cut(whole, cut, right, "last_hidden_state", -16.0, "here")
    with pytest.raises(SourceError, match="changes the model's answers"):
        check_cut(whole, cut, wrong, "last_hidden_state", -16.0, "here")
    with pytest.raises(SourceError, match="too small to hide the padding"):
        check_cut(whole, cut, right, "last_hidden_state", -0.5, "here")


def copied(folders: Path, tmp_path: Path, name: str = "bert") -> Path:
    return Path(shutil.copytree(folders / name, tmp_path / "copy"))


def test_weights_that_do_not_fit_the_configuration(folders: Path, tmp_path: Path) -> None:
    folder = copied(folders, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 64}))
    with pytest.raises(SourceError, match="do not fit config.json"):
        built(folder, tmp_path / "scratch")


def test_truncated_weights(folders: Path, tmp_path: Path) -> None:
    folder = copied(folders, tmp_path)
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(SourceError):
        built(folder, tmp_path / "scratch")


def test_a_task_the_architecture_has_no_head_for(folders: Path, tmp_path: Path) -> None:
    with pytest.raises((SourceError, ToolError)):
        export_graph(folders / "bert", "image-classification", 16, tmp_path)


def test_real_bert_answers_alike(data_dir: Path, tmp_path: Path) -> None:
    """The SST-2 model: padded sentences through tables, mask and cut graph against the export as it is."""
    from n6convert.plugin import ModelInfo, Sample
    from n6convert.runtime.session import Session

    folder = data_dir / "weights/bert_tiny_sst2"
    whole = Session(export_graph(folder, "text-classification", 32, tmp_path), threads=1)
    plugin = TinyBert("tinybert", TinyBertOptions(sequence=32))
    (tmp_path / "scratch").mkdir()
    weights = Weights("file", folder)
    model = plugin.build(BuildRequest(weights, 0, tmp_path / "scratch"))
    plugin.info = ModelInfo((), (), model.metadata)
    plugin.restore(weights, 0)
    cut = Session(model.model, threads=1)
    for text in ("a gorgeous , witty film", "dull", "it 's a charming and often affecting journey . " * 9):
        sample = Sample(text, text)
        ids, real = plugin._tokenized(sample)
        known = {"input_ids": ids, "attention_mask": real.astype(np.int64), "token_type_ids": np.zeros_like(ids)}
        reference = whole.run({name: known[name][None] for name in whole.inputs})["logits"]
        assert np.allclose(cut.run(plugin.encode(sample))["logits"], reference, atol=2e-3)


def test_pretrained_comes_from_the_hub(local_hub: Any, folders: Path, tmp_path: Path) -> None:
    files = {name: (folders / "old" / name).read_bytes() for name in _FILES}
    config = json.loads(files["config.json"])
    for later in ("model_type", "architectures"):  # as configurations were written before transformers had types
        config.pop(later, None)
    files["config.json"] = json.dumps(config).encode()
    local_hub.publish(_HUB, files, _REVISION)
    plugin = TinyBert("tinybert", TinyBertOptions(sequence=8))
    weights = plugin.resolve_weights("pretrained", cache=tmp_path / "weights")
    assert weights is not None and weights.path is not None and weights.origin == f"{_HUB}@{_REVISION}"
    assert set(weights.files) == {p.name for p in weights.path.iterdir()} == set(_FILES)
    (tmp_path / "scratch").mkdir()
    built = plugin.build(BuildRequest(weights, 0, tmp_path / "scratch"))
    assert built.metadata["task"] == "embedding"
    assert plugin.resolve_weights("other", cache=tmp_path) is None
