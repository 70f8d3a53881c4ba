"""Offline mode: whether the network may be used."""

from __future__ import annotations

import os

from n6convert.errors import DownloadError

__all__ = ["OFFLINE", "offline", "refuse_offline"]

OFFLINE = "N6CONVERT_OFFLINE"
_NO = {"", "0", "false", "no", "off"}


def offline() -> bool:
    """Whether ``N6CONVERT_OFFLINE`` forbids the network."""
    return os.environ.get(OFFLINE, "").strip().lower() not in _NO


def refuse_offline(url: str) -> None:
    """Raise DownloadError where ``N6CONVERT_OFFLINE`` is set."""
    if offline():
        raise DownloadError(
            "the network is switched off",
            place=url,
            found=f"{OFFLINE}={os.environ[OFFLINE]}, and the file is not in the cache",
            remedy=f"run once without {OFFLINE}",
        )
