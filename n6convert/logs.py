"""What libraries say while they work: nothing on the terminal, unless the user asks for it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["quiet_libraries"]


@contextmanager
def quiet_libraries(*, debug: bool) -> Iterator[None]:
    """Keep log records and warnings of libraries from stderr; with ``debug``, show them all.

    Records still reach handlers that somebody else has set. What n6convert itself has to say, it says in messages.
    """
    handler = logging.StreamHandler() if debug else logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        with warnings.catch_warnings():
            if not debug:
                warnings.simplefilter("ignore")
            yield
    finally:
        logging.getLogger().removeHandler(handler)
