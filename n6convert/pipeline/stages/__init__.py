"""The steps of a conversion: one file each, thin, calling the part of n6convert that does the work."""

from __future__ import annotations
