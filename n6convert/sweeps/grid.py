"""The points of a sweep: every combination of the values given for each key."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from n6convert.errors import UsageError
from n6convert.store.yaml_text import read_value

__all__ = ["GridPoint", "expand", "parse_axis"]

_MOST = 1000


@dataclass(frozen=True)
class GridPoint:
    """One conversion of a sweep.

    Attributes:
        model: model or recipe name.
        settings: recipe keys (dotted) and values that differ between the points.
        common: further arguments of :func:`n6convert.convert`, equal for all points.
        varying: keys with more than one value in the grid: what tells the points apart.
        state: hash of what the point will read; another state is another point.
    """

    model: str
    settings: Mapping[str, Any]
    common: Mapping[str, Any]
    varying: tuple[str, ...] = ()
    state: str = ""

    @property
    def label(self) -> str:
        """What a reader sees: the values that vary."""
        return ", ".join(f"{key.rpartition('.')[2]} {self.settings[key]}" for key in self.varying) or self.model

    @property
    def key(self) -> str:
        """A stable name for files: the same point has the same key in every run, wherever its output goes."""
        common = {key: value for key, value in self.common.items() if key not in ("output", "cache")}
        text = json.dumps([self.model, dict(self.settings), common, self.state], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def parse_axis(text: str) -> tuple[str, list[Any]]:
    """``key=a,b`` as a key and its values, each read as YAML.

    Raises:
        UsageError: no ``=``, no key or no value, or one that is not YAML.
    """
    key, sign, values = text.partition("=")
    if not sign or not key.strip() or not values.strip():
        raise UsageError("a sweep axis must look like `key=a,b`", found=text)
    return key.strip(), [read_value(value, f"sweep axis {text[:200]}") for value in values.split(",")]


def expand(model: str, axes: Mapping[str, Sequence[Any]], common: Mapping[str, Any]) -> list[GridPoint]:
    """All combinations, the last axis varying fastest.

    Args:
        model: model or recipe name, or a file.
        axes: values by dotted key.
        common: arguments that all points have.

    Raises:
        UsageError: no axis, one without values, or more than a thousand points.
    """
    if not axes:
        raise UsageError(
            "a sweep needs something to vary",
            place=model,
            limit="an axis, or a recipe with a `sweep` section",
            remedy=f"n6convert sweep {model} --imgsz 192,256, or --set key=a,b",
        )
    for key, values in axes.items():
        if not values:
            raise UsageError("a sweep axis has no values", place=key)
    varying = tuple(key for key, values in axes.items() if len(values) > 1)
    combinations = product(*axes.values())
    points = [GridPoint(model, dict(zip(axes, values, strict=True)), common, varying) for values in combinations]
    if len(points) > _MOST:
        raise UsageError("the sweep is too large", limit=f"{_MOST} points", found=len(points))
    return points
