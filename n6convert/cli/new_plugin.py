"""``n6convert new-plugin NAME``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from n6convert.cli.options import examples

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``new-plugin`` to the application."""
    app.command("new-plugin", epilog=examples("n6convert new-plugin my-net"))(_new_plugin)


def _new_plugin(
    name: Annotated[str, typer.Argument(help="Model name: small letters, digits, hyphens.", show_default=False)],
    folder: Annotated[Path, typer.Option(help="Where the new folder goes.")] = Path(),
) -> None:
    """Write a working plugin distribution: package, entry point, recipe and contract test."""
    from n6convert.cli.terminal import say
    from n6convert.scaffold.new_plugin import new_plugin

    made = new_plugin(name, folder)
    steps = (f'pip install -e "{made}[dev]"', f"n6convert {name} --weights seeded", f"python -m pytest {made}")
    say("\n  ".join((f"wrote {made}\nnext:", *steps)))
