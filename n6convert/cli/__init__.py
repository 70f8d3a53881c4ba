"""The command line: one file per command, the only part that prints."""

from n6convert.cli.entry import app, main, run

__all__ = ["app", "main", "run"]
