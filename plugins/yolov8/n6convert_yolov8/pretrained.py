"""Published weights: where they are and what they must hash to."""

from __future__ import annotations

from pathlib import Path

from n6convert.plugin import Weights

__all__ = ["LICENSE", "PINNED", "fetch_pretrained"]

_RELEASES = "https://github.com/ultralytics/assets/releases/download"
LICENSE = "AGPL-3.0 (Ultralytics)"
#: release and sha256 of the published files, each confirmed by at least two independent public repositories that pin or
#: store the same file
PINNED = {
    "yolov8n": ("v0.0.0", "31e20dde3def09e2cf938c7be6fe23d9150bbbe503982af13345706515f2ef95"),
    "yolov8s": ("v8.3.0", "1f47a78bf100391c2a140b7ac73a1caae18c32779be7d310658112f7ac9aa78a"),
    "yolov8m": ("v8.3.0", "5d4a90cdc7a21786cc59cd19778e9eafff836df9e2da32524737c7ee6efe4fe5"),
    "yolov8n-pose": ("v8.3.0", "c6fa93dd1ee4a2c18c900a45c1d864a1c6f7aba75d84f91648a30b7fb641d212"),
    "yolov8s-pose": ("v8.3.0", "234314cd8baf62616791aceb9ea6ad5c19f26cf6c0d8f3a1bfce1e23b186cfb3"),
    "yolov8m-pose": ("v8.3.0", "dbe539ea268db2534390942cfdf206e521f376f19e5415967a57f6a2ddfa3c90"),
}


def fetch_pretrained(name: str, cache: Path) -> Weights | None:
    """Published COCO weights, downloaded once; None for a name that none are published under.

    Raises:
        DownloadError: the file cannot be fetched or is not the pinned one.
    """
    from n6convert.plugin.weights import fetch

    if name not in PINNED:
        return None
    release, digest = PINNED[name]
    url = f"{_RELEASES}/{release}/{name}.pt"
    return Weights("pretrained", fetch(url, digest, cache), digest, url, LICENSE, "sha256 pinned in n6convert-yolov8")
