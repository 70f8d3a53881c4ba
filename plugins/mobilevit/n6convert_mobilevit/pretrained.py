"""Apple's published checkpoints on the Hugging Face hub."""

from __future__ import annotations

from n6convert.plugin.weights import HubModel

__all__ = ["PUBLISHED"]

_FILES = ("pytorch_model.bin", "config.json")
_LICENSE = "Apple sample code license"
#: by model; where no public source names a commit, the first one that is served is kept
PUBLISHED = {
    "mobilevit": HubModel("apple/mobilevit-xx-small", _FILES, None, _LICENSE),
    "mobilevit-xs": HubModel("apple/mobilevit-x-small", _FILES, None, _LICENSE),
    "mobilevit-s": HubModel("apple/mobilevit-small", _FILES, "6c8612545dc98676d27bc518fa521d9e9af23e34", _LICENSE),
}
