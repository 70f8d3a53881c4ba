"""Apple's published checkpoints on the Hugging Face hub: which revision, and what it must hash to."""

from __future__ import annotations

from pathlib import Path

from n6convert.plugin import SourceError, Weights

__all__ = ["HUB", "PINNED", "Pin", "fetch_pretrained"]

Pin = tuple[str, str]
HUB = {
    "mobilevit": "apple/mobilevit-xx-small",
    "mobilevit-xs": "apple/mobilevit-x-small",
    "mobilevit-s": "apple/mobilevit-small",
}
#: model to (revision, sha256 of its weights file), once two independent public sources agree on them
PINNED: dict[str, Pin] = {}
_WEIGHTS = "pytorch_model.bin"
_LICENSE = "Apple sample code license"


def fetch_pretrained(name: str, cache: Path) -> Weights:
    """The published ImageNet weights, downloaded once at their pinned revision.

    Raises:
        SourceError: no revision and sha256 are pinned for this model.
        DownloadError: the hub cannot be reached, or the file is not the pinned one.
    """
    hub = HUB[name]
    if name not in PINNED:
        raise SourceError(
            "no pretrained weights are pinned for this model: two independent sources of their sha256 were not found",
            place=name,
            remedy=f"`huggingface-cli download {hub} --local-dir FOLDER`, then give --weights FOLDER; "
            "or --weights seeded for placement, memory and time alone",
        )
    revision, digest = PINNED[name]
    folder = _downloaded(hub, revision, cache)
    _check(folder / _WEIGHTS, digest, hub)
    return Weights("pretrained", folder, digest, f"{hub}@{revision}", _LICENSE)


def _downloaded(hub: str, revision: str, cache: Path) -> Path:
    from huggingface_hub import snapshot_download

    from n6convert.errors import DownloadError

    target = cache / hub.replace("/", "--")
    try:
        files = ["config.json", _WEIGHTS]
        found = snapshot_download(hub, revision=revision, local_dir=target, allow_patterns=files)
    except Exception as error:  # the hub's own errors, requests, OSError
        raise DownloadError(
            "pretrained weights cannot be downloaded",
            place=f"https://huggingface.co/{hub} at {revision}",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            remedy=f"put config.json and {_WEIGHTS} into {target}, give --weights FOLDER, or --weights seeded",
        ) from error
    return Path(found)


def _check(file: Path, digest: str, hub: str) -> None:
    import hashlib

    from n6convert.errors import DownloadError

    found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
    if found != digest:
        raise DownloadError(
            "the downloaded file is not the pinned one", place=f"{hub}, {file}", limit=digest, found=found
        )
