"""``n6convert cache``."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from n6convert.cli.options import AsJson, examples

__all__ = ["register"]

_Clear = Annotated[
    list[str] | None,
    typer.Option("--clear", help="Empty a part: stages, weights, trust, or all of the first two (repeatable)."),
]


def register(app: typer.Typer) -> None:
    """Add the command ``cache``."""
    lines = ("n6convert cache", "n6convert cache --clear stages", "n6convert cache --json")
    app.command("cache", epilog=examples(*lines))(_cache)


def _cache(clear: _Clear = None, as_json: AsJson = False) -> None:
    """Show where finished stages and downloads are kept and how large they are, or empty them."""
    from dataclasses import asdict

    from n6convert.cli.terminal import say
    from n6convert.store.cache import Cache
    from n6convert.store.content import cache_content, empty_cache

    cache = Cache()
    freed = empty_cache(cache, _parts(clear)) if clear else 0
    parts = cache_content(cache.root)
    if as_json:
        facts = {"folder": str(cache.root), "limit": cache.limit, "freed": freed, "parts": [asdict(p) for p in parts]}
        print(json.dumps(facts, indent=2))
        return
    if clear:
        say(f"freed {freed / 2**20:,.1f} MiB")
    say(f"{cache.root}: stages up to {cache.limit / 2**30:g} GiB, the least recently used go first")
    for part in parts:
        say(f"  {part.name:<20}{part.entries:>6} {part.bytes / 2**20:>10,.1f} MiB")


def _parts(wanted: list[str]) -> list[str]:
    from n6convert.errors import UsageError
    from n6convert.store.content import PARTS

    unknown = sorted(set(wanted) - {*PARTS, "all"})
    if unknown:
        raise UsageError(
            "the cache has no such part", place="--clear", found=", ".join(unknown),
            limit="; ".join([*(f"{name}: {text}" for name, text in PARTS.items()), "all: stages and weights"]),
        )  # fmt: skip
    return ["stages", "weights", *wanted] if "all" in wanted else wanted
