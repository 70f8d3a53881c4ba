"""MoveNet as an n6convert model family."""

from __future__ import annotations

from n6convert_movenet.plugin import MoveNet, MoveNetOptions

__all__ = ["MoveNet", "MoveNetOptions"]
