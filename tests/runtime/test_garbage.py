"""Collecting rarely: what was there is let alone, what a caller has set comes back."""

from __future__ import annotations

import gc

from n6convert.runtime import garbage
from n6convert.runtime.garbage import collect_rarely, rare_collections


def test_what_was_there_is_not_looked_at_inside() -> None:
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    with rare_collections():
        inside = gc.get_freeze_count()
        assert gc.get_threshold()[0] >= garbage._OBJECTS and inside > frozen
        with rare_collections():
            assert gc.get_freeze_count() == inside
        assert gc.get_freeze_count() == inside
    assert gc.get_threshold() == before and gc.get_freeze_count() == frozen == 0


def test_garbage_of_before_is_not_kept(monkeypatch) -> None:
    collected: list[int] = []
    monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
    monkeypatch.setattr(gc, "get_count", lambda: (garbage._OBJECTS, 0, 0))
    with rare_collections():
        pass
    monkeypatch.setattr(gc, "get_count", lambda: (10, 0, 0))
    with rare_collections():
        pass
    assert collected == [1]


def test_what_a_conversion_made_is_let_alone_inside_it_and_where_the_process_ends_with_it(monkeypatch) -> None:
    collected: list[int] = []
    with rare_collections():
        monkeypatch.setattr(gc, "collect", lambda: collected.append(1))
        monkeypatch.setattr(gc, "get_count", lambda: (garbage._OBJECTS, 0, 0))
        with rare_collections():
            assert not collected
    before = gc.get_threshold()
    try:
        collect_rarely()
        with rare_collections():
            pass
        assert gc.get_threshold() == (garbage._OBJECTS, *before[1:])
    finally:
        gc.set_threshold(*before)
