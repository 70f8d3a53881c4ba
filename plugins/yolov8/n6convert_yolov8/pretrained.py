"""Published weights: where they are and what they must hash to."""

from __future__ import annotations

from pathlib import Path

from n6convert.plugin import SourceError, Weights

__all__ = ["PINNED", "fetch_pretrained"]

_RELEASES = "https://github.com/ultralytics/assets/releases/download"
#: release and sha256 of each published file that two independent public sources agree on
PINNED = {"yolov8n": ("v0.0.0", "31e20dde3def09e2cf938c7be6fe23d9150bbbe503982af13345706515f2ef95")}
_LICENSE = "AGPL-3.0 (Ultralytics)"


def fetch_pretrained(name: str, cache: Path) -> Weights:
    """Published COCO weights, downloaded once.

    Raises:
        SourceError: no pinned hash is known for this size.
        DownloadError: the file cannot be fetched or is not the pinned one.
    """
    from n6convert.weights import fetch

    if name not in PINNED:
        raise SourceError(
            "no pretrained weights are pinned for this model: two independent sources of its sha256 were not found",
            place=name,
            limit=", ".join(PINNED),
            remedy=f"download {_RELEASES}/v8.3.0/{name}.pt yourself and give --weights {name}.pt, or use seeded",
        )
    release, digest = PINNED[name]
    url = f"{_RELEASES}/{release}/{name}.pt"
    return Weights("pretrained", fetch(url, digest, cache), digest, url, _LICENSE)
