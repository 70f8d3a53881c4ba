"""Lock files that say why they cannot be made: a waiting lock would try for ever."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import FileLock

__all__ = ["lock_at"]


def lock_at(path: Path) -> FileLock:
    """A lock, not yet held, behind a file that exists.

    Raises:
        OSError: the file cannot be made there.
    """
    from filelock import FileLock

    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o644))
    return FileLock(path)
