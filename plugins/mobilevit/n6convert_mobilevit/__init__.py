"""MobileViT for n6convert."""

from __future__ import annotations

from n6convert_mobilevit.plugin import MobileVit, MobileVitOptions

__all__ = ["MobileVit", "MobileVitOptions"]
