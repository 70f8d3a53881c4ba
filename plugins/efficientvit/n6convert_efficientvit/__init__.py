"""EfficientViT for n6convert."""

from __future__ import annotations

from n6convert_efficientvit.plugin import EfficientVit, EfficientVitOptions

__all__ = ["EfficientVit", "EfficientVitOptions"]
