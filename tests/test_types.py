"""Types that many parts share are defined once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_feeds_progress_and_outputs_have_one_definition() -> None:
    again = re.compile(r"^(Feeds|Progress|Outputs|Sample) = (Mapping|dict|Callable)\b", re.M)
    code = [p for p in (ROOT / "n6convert").rglob("*.py") if again.search(p.read_text("utf-8"))]
    assert [p.relative_to(ROOT).as_posix() for p in code] == ["n6convert/types.py"]


def test_plugins_reach_them_and_the_old_name_warns() -> None:
    import n6convert.plugin as interface
    from n6convert import types

    assert (interface.Feeds, interface.Progress, interface.Outputs) == (types.Feeds, types.Progress, types.Outputs)
    with pytest.warns(DeprecationWarning, match="called Progress"):
        assert interface.Report is types.Progress  # type: ignore[attr-defined]
    with pytest.raises(AttributeError):
        interface.Nothing  # type: ignore[attr-defined]  # noqa: B018
