"""A result as a cell of a notebook shows it: the cards and the ribbons of the page, in a frame of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from n6convert.escaping import html_text
from n6convert.report.render import render_text
from n6convert.report.schema import PartialReport
from n6convert.report.view import page_values
from n6convert.results import Report

__all__ = ["as_report", "cell", "framed"]

_SHARED = ("target", "model", "memory", "cycles", "latency", "advice", "warnings")
#: a frame keeps the page's styles from the notebook's
_FRAME = '<iframe srcdoc="{page}" style="width: 100%; height: {height}rem; border: 0" title="{title}"></iframe>'


def as_report(facts: Mapping[str, Any]) -> Report:
    """An estimate's facts in the form of a report, with the parts that an estimate has."""
    from n6convert.version import __version__

    return PartialReport.model_validate(
        {
            "name": facts["model"],
            "n6convert": __version__,
            "weights": {"origin": "as in the file", "trained": True},
            "placement": {"before": None, "after": facts["placement"]},
            **{key: facts[key] for key in _SHARED},
        }
    )


def cell(report: Report) -> str:
    """HTML for ``_repr_html_``."""
    values = page_values(report, Path())
    page = render_text("cell.html.j2", **{key: values[key] for key in ("title", "cards", "ribbons", "time_axis")})
    return framed(page, values["title"], 16 + 7 * len(values["ribbons"]))


def framed(page: str, title: str, height: int) -> str:
    """A page inside a frame of its own.

    Args:
        height: in lines of text (rem).
    """
    return _FRAME.format(page=html_text(page), height=height, title=html_text(title))
