"""The version that is installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as _installed

__all__ = ["__version__"]

try:
    __version__ = _installed("n6convert")
except PackageNotFoundError:  # a checkout that nobody installed
    __version__ = "0+unknown"
