"""Weights: a file, a name in the catalog or on a hub, downloaded and verified."""

from n6convert.lazy import first_use

__getattr__ = first_use(
    "n6convert.weights", dict.fromkeys(("fetch", "reject_non_weight_file", "resolve"), "resolution")
)
