"""Published weights: where they are and what they must hash to."""

from __future__ import annotations

from pathlib import Path

from n6convert.plugin import Weights
from n6convert_yolov8.architecture import parse_name

__all__ = ["LICENSE", "PINNED", "fetch_pretrained"]

_RELEASES = "https://github.com/ultralytics/assets/releases/download"
#: repositories with every file of a family
_HUB = {"yolov8": "Ultralytics/YOLOv8", "yolo11": "Ultralytics/YOLO11", "yolo26": "Ultralytics/YOLO26"}
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
    "yolov8n-seg": ("v8.2.0", "a7cd8f929e1903d78a12a48efecab430209f18dc46cb96c3599a5980c63c423c"),
    "yolov8s-seg": ("v8.2.0", "0bac0770b55e5eb5b76a61bc535673288dcec36c2bc0cd25ee0d584c632f3413"),
    "yolo11n": ("v8.3.0", "0ebbc80d4a7680d14987a577cd21342b65ecfd94632bd9a8da63ae6417644ee1"),
    "yolo11s": ("v8.3.0", "85a76fe86dd8afe384648546b56a7a78580c7cb7b404fc595f97969322d502d5"),
    "yolo11m": ("v8.3.0", "d5ffc1a674953a08e11a8d21e022781b1b23a19b730afc309290bd9fb5305b95"),
    "yolo11n-seg": ("v8.3.0", "55ed65c56c91713d23e8402371c6c49a6fd84f257f7dce452e8d70e41dcbe152"),
    "yolo11s-seg": ("v8.3.0", "1caa81c0195412efa411b632bcfb8c184939dddb6ae41f6a80c41b211ff257c3"),
    "yolo11m-seg": ("v8.3.0", "eb9a06f63e2206c35d68d839b08c362429ebecf933ad54c1ad68b2fd001c17cf"),
    "yolo11n-pose": ("v8.3.0", "869e83fcdffdc7371fa4e34cd8e51c838cc729571d1635e5141e3075e9319dc0"),
    "yolo26n": ("v8.4.0", "9b09cc8bf347f0fc8a5f7657480587f25db09b34bf33b0652110fb03a8ad4fef"),
    "yolo26s": ("v8.4.0", "646f8bc3fe0a656803d95c294f7852321748cb29d13466a1af8862e2db384a1b"),
    "yolo26m": ("v8.4.0", "401cea9ab23ad19246ff7744859816bc599f350e93c9dd30367b6f0a0745d0b7"),
    "yolo26n-seg": ("v8.4.0", "361fbfabab285c3237700b6bb91d7ecfa602cd945fffda8dbe1242829b71e73f"),
    "yolo26s-seg": ("v8.4.0", "3da1d83e31caec96f9300eb4064f4f62882c133c7c264d63dfe61a7c197837a4"),
    "yolo26m-seg": ("v8.4.0", "16b636f04e8fb6a325b3370f22dc5e5535ff473e384f4d041fd28d788f6ee9f5"),
    "yolo26n-pose": ("v8.4.0", "eb3bb8268828aeaf515cec23a4bfafd793944a86fe9af94ba7823609c14522a9"),
}


def fetch_pretrained(name: str, cache: Path) -> Weights:
    """Published weights, downloaded once: pinned where two public sources agree on a hash, else on the hub's word.

    Raises:
        DownloadError: the file cannot be fetched or is not the one that is trusted.
    """
    from n6convert.plugin.weights import HubModel, fetch, fetch_hub

    if name not in PINNED:
        return fetch_hub(HubModel(_HUB[parse_name(name)[0]], (f"{name}.pt",), None, LICENSE), cache)
    release, digest = PINNED[name]
    url = f"{_RELEASES}/{release}/{name}.pt"
    return Weights("pretrained", fetch(url, digest, cache), digest, url, LICENSE)
