"""HTTP requests that never leave HTTPS where it was asked for."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin, urlsplit

import requests

from n6convert.errors import DownloadError

__all__ = ["refuse_plain", "session"]

_LOCAL = {"localhost", "127.0.0.1", "::1"}


def refuse_plain(url: str, came_from: str | None = None) -> None:
    """Raise DownloadError for a URL that is not HTTPS; this machine's own server may answer itself without."""
    local = {urlsplit(u).hostname for u in (url, came_from or url)} <= _LOCAL
    if urlsplit(url).scheme != "https" and not local:
        raise DownloadError("the download would leave HTTPS", place=came_from or url, limit="https://", found=url)


def session(*, https_only: bool) -> requests.Session:
    """A session for one download.

    Args:
        https_only: refuse a redirect to anything but HTTPS.
    """
    return _Secure() if https_only else requests.Session()


class _Secure(requests.Session):  # type: ignore[misc]
    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target: str | None = super().get_redirect_target(resp)
        if target is not None:
            refuse_plain(urljoin(resp.url, target), resp.url)
        return target

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:
        refuse_plain(request.url or "", request.url)
        return super().send(request, **options)
