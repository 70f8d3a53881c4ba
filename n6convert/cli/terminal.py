"""Printing: every text reaches the terminal as visible characters, whatever names a model or a file has.

The commands print through this module alone. JSON needs no care: it escapes by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.markup import escape
from rich.segment import Segment

from n6convert.escaping import plain_text

__all__ = ["say", "shown", "terminal"]

_KEPT = "\n\t"


def terminal(*, stderr: bool = False, **choices: Any) -> Console:
    """A rich console whose output holds no control character but rich's own."""
    made = Console(stderr=stderr, **choices)
    made.push_render_hook(_Visible())
    return made


def shown(value: object) -> str:
    """A name or a sentence as it may stand among rich's markup and in the cells of its tables."""
    return escape(plain_text(str(value), keep=_KEPT))


def say(text: object, *, error: bool = False) -> None:
    """Print a line to stdout, or stderr."""
    stream = sys.stderr if error else sys.stdout
    line = plain_text(str(text), keep=_KEPT)
    encoding = getattr(stream, "encoding", None) or "utf-8"
    print(line.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=error)


class _Visible(RenderHook):
    """Lays :class:`_Cleaned` around whatever is printed."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Cleaned(renderable) for renderable in renderables]


class _Cleaned:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from _cleaned(console.render(self.inner, options))


def _cleaned(segments: Iterable[Segment]) -> Iterable[Segment]:
    for segment in segments:
        yield segment if segment.control else Segment(plain_text(segment.text, keep=_KEPT), segment.style)
