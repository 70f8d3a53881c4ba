"""Templates to self-contained files: styles and script inlined, written whole or not at all."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from n6convert.errors import OutputError
from n6convert.store.cache import write_atomically
from n6convert.store.outputs import PAGE, refuse_loss

__all__ = ["render_page", "render_text"]


def render_text(template: str, **values: Any) -> str:
    """A page from a template of this package; SVG and styles pass unescaped, everything else is escaped."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    from n6convert.version import __version__

    folder = files(__package__)
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["svg"] = Markup
    style, script = (Markup((folder / name).read_text(encoding="utf-8")) for name in ("style.css", "script.js"))
    return environment.get_template(template).render(style=style, script=script, version=__version__, **values)


def render_page(path: Path, template: str, *, force: bool = False, **values: Any) -> None:
    """Render into a file.

    Args:
        path: of the page.
        template: its file name.
        force: replace a file that n6convert did not write.

    Raises:
        OutputError: the file cannot be written, or is there and no page of n6convert (unless ``force``).
    """
    text = render_text(template, **values)
    refuse_loss(path, PAGE, force=force)
    try:
        write_atomically(path, text.encode("utf-8", "backslashreplace"))
    except OutputError as error:
        raise OutputError(
            "the page cannot be written", place=error.place, found=error.found, remedy=error.remedy
        ) from None
