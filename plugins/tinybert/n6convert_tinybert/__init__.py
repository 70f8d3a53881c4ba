"""BERT-like text encoders as an n6convert model family."""

from __future__ import annotations

from n6convert_tinybert.plugin import TinyBert, TinyBertOptions

__all__ = ["TinyBert", "TinyBertOptions"]
