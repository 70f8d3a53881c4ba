"""Running a conversion for a command: progress while it lasts, its report or its table at the end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from n6convert.recipe.draft import Draft

__all__ = ["run_conversion"]


def run_conversion(draft: Draft, *, as_json: bool, quiet: bool, no_cache: bool, force: bool) -> None:
    """Convert and print the result, as the shared options of the converting commands say.

    Args:
        draft: of the recipe.
        as_json: print the report as JSON instead of the table.
        quiet: no progress and no table.
        no_cache: make every stage run again.
        force: replace files in the output folder that n6convert did not write.
    """
    from n6convert.api import convert_draft
    from n6convert.cli.console import print_result
    from n6convert.cli.progress import progress_on_stderr

    with progress_on_stderr(quiet) as progress:
        result = convert_draft(draft, cache=not no_cache, progress=progress, force=force)
    if as_json:
        print(json.dumps(result.report.model_dump(mode="json", by_alias=True), indent=2))
    elif not quiet:
        print_result(result)
