"""Errors of plugins, attributed to the plugin that raised them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import EntryPoint

from n6convert.errors import N6ConvertError, PluginError

__all__ = ["plugin_errors"]


@contextmanager
def plugin_errors(entry: EntryPoint, what: str) -> Iterator[None]:
    """Turn whatever a plugin raises into a PluginError that says which plugin, in which method."""
    try:
        yield
    except (N6ConvertError, MemoryError):
        raise
    except (Exception, SystemExit) as cause:
        dist = entry.dist
        owner = f"{dist.name} {dist.version}" if dist else entry.value
        raise PluginError(
            f"the plugin failed in {what}",
            place=f"{owner} ({entry.value})",
            found=f"{type(cause).__name__}: {cause}",
            remedy="run again with --debug for the traceback and report it to the plugin's author",
        ) from cause
