"""The version that a build gets: the tag's, or the next one with the number of commits and the commit's hash.

Run by hatchling (``[tool.hatch.version]``) for the core and every plugin; a source distribution carries its version in
``PKG-INFO`` and needs no git.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

__all__ = ["NEXT", "version"]

#: what the next release will be called; `docs/releasing.md` says when it changes
NEXT = "0.1.1"


def version() -> str:
    """``0.1.1`` at the tag ``v0.1.1``, else ``0.1.1.dev452+g0e188bf``; ``0.1.1.dev0`` outside of git."""
    commit = _git("rev-parse", "--short=9", "HEAD")
    if not commit:
        return f"{NEXT}.dev0"
    tag = _git("describe", "--tags", "--exact-match", "--match", "v[0-9]*")
    if tag and not _git("status", "--porcelain", "--untracked-files=no"):
        return tag.removeprefix("v")
    last = _git("describe", "--tags", "--abbrev=0", "--match", "v[0-9]*")
    since = _git("rev-list", "--count", f"{last}..HEAD" if last else "HEAD")
    return f"{NEXT}.dev{since}+g{commit}"


def _git(*arguments: str) -> str:
    """What git says about the checkout that this file is in; empty where there is none."""
    folder = Path(__file__).resolve().parent
    if not (folder / ".git").exists():
        return ""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
