"""``n6convert doctor``."""

from __future__ import annotations

import json

import typer

from n6convert.cli.options import AsJson, examples

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command ``doctor``."""
    app.command("doctor", epilog=examples("n6convert doctor"))(_doctor)


def _doctor(as_json: AsJson = False) -> None:
    """Show what is installed, which models would run, and the command that installs what is missing."""
    from dataclasses import asdict

    from n6convert.cli.console import print_checks
    from n6convert.doctor import examine

    checks = examine()
    if as_json:
        print(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        print_checks(checks)
    raise typer.Exit(0 if all(check.fine for check in checks if check.needed) else 1)
