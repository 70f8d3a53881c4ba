"""Child process: small Hugging Face folders of several architectures, random weights, with a tokenizer.

Arguments: where to write, and a folder whose vocab.txt is used.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    ElectraConfig,
    ElectraForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

WORDS = 200
SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48, "max_position_embeddings": 34}


def main(folder: Path, vocabulary: Path) -> None:
    torch.manual_seed(0)
    common = {"vocab_size": WORDS, "hidden_size": 32, "initializer_range": 0.2} | SIZES
    distil = DistilBertConfig(WORDS, 34, n_layers=1, n_heads=2, dim=32, hidden_dim=48, initializer_range=0.2)
    models = {
        "bert": BertForSequenceClassification(BertConfig(**common, id2label={0: "bad", 1: "good", 2: "so so"})),
        "encoder": BertModel(BertConfig(**common)),
        "masked": BertForMaskedLM(BertConfig(**common)),
        "roberta": RobertaForSequenceClassification(RobertaConfig(**common, pad_token_id=1)),
        "electra": ElectraForSequenceClassification(ElectraConfig(**common, embedding_size=16)),
        "distilbert": DistilBertForSequenceClassification(distil),
    }
    for name, model in models.items():
        model.eval().save_pretrained(folder / name)
        shutil.copy(vocabulary, folder / name / "vocab.txt")
    shutil.copytree(folder / "encoder", folder / "old")
    (folder / "old/model.safetensors").unlink()
    state = models["encoder"].state_dict()
    torch.save(state, folder / "old/pytorch_model.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
