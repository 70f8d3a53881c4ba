"""What is logged while a command works: nothing on the terminal, unless the user asks for it.

n6convert logs under ``n6convert``: at INFO what was done and what came from where, at DEBUG how. A program that uses
the package sets its own handlers on that name.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["logger", "quiet_libraries"]

_LEVELS = {0: logging.WARNING, 1: logging.INFO}
_FORM = "%(asctime)s %(name)s: %(message)s"


def logger(module: str) -> logging.Logger:
    """The logger of a module, by its ``__name__``; silent while nobody has set a handler."""
    logging.getLogger("n6convert").addHandler(_SILENT)
    return logging.getLogger(module)


_SILENT = logging.NullHandler()


@contextmanager
def quiet_libraries(*, debug: bool, verbosity: int = 0) -> Iterator[None]:
    """Keep log records and warnings of libraries from stderr; with ``debug``, show them all.

    Records still reach handlers that somebody else has set.

    Args:
        verbosity: how much of n6convert's own records is shown: 1 for what is done, 2 for how.
    """
    handler = logging.StreamHandler() if debug else logging.NullHandler()
    logging.getLogger().addHandler(handler)
    own, before = logging.getLogger("n6convert"), logging.getLogger("n6convert").level
    shown = logging.StreamHandler() if verbosity and not debug else logging.NullHandler()
    shown.setFormatter(logging.Formatter(_FORM, "%H:%M:%S"))
    own.addHandler(shown)
    if verbosity or debug:
        own.setLevel(_LEVELS.get(verbosity, logging.DEBUG) if not debug else logging.DEBUG)
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
            yield
    finally:
        own.setLevel(before)
        own.removeHandler(shown)
        logging.getLogger().removeHandler(handler)
