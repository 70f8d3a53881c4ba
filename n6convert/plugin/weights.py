"""Pinned downloads: a file from the network, its sha256 verified."""

from n6convert.weights import fetch

__all__ = ["fetch"]
