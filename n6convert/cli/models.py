"""``n6convert models``."""

from __future__ import annotations

import json

import typer

from n6convert.cli.options import AsJson, examples

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``models``."""
    app.command("models", epilog=examples("n6convert models"))(_models)


def _models(as_json: AsJson = False) -> None:
    """List the installed models, and why some of them cannot run."""
    from dataclasses import asdict

    from n6convert.cli.console import print_models
    from n6convert.registry import list_models

    found = list_models()
    if as_json:
        print(json.dumps([asdict(entry) for entry in found], indent=2))
    else:
        print_models(found)
