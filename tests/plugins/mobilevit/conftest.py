"""A tiny MobileViT folder, made once."""

from __future__ import annotations

from pathlib import Path

import pytest
from n6convert_mobilevit.architecture import config_of
from n6convert_mobilevit.export import seeded_folder


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """config.json and model.safetensors of a network with the family's structure and few channels."""
    small = {"neck_hidden_sizes": [8, 8, 8, 16, 16, 24, 32], "hidden_sizes": [16, 16, 24], "num_attention_heads": 2}
    names = {"num_labels": 5, "id2label": {str(i): f"flower {i}" for i in range(5)}}
    names["label2id"] = {f"flower {i}": i for i in range(5)}
    return seeded_folder(config_of("mobilevit") | small | names, 0, tmp_path_factory.mktemp("mobilevit"))
