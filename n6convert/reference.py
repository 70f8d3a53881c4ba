"""What is known of the NPU, paragraph by paragraph: the page that rules, targets and limits cite.

A rule is cited by its anchor in ``[#...]``, a compiler report by its number (``r`` and two digits), which is the anchor
of its row. The page is ``docs/reference/neural-art.md``; the wheel carries a copy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from n6convert.errors import UsageError
from n6convert.naming import nearest

__all__ = ["PAGE", "as_links", "citations", "footer", "is_citation", "paragraph", "paragraphs"]

#: the page below the manual's root
PAGE = "reference/neural-art.md"
_CITATION = re.compile(r"\[#([A-Za-z0-9-]+)\]|(?<![\w#\[])(r\d\d[abc]?)(?!\w)")
_ANCHOR = re.compile(r'<a id="([^"]+)"></a>')
_LINK = re.compile(r"\[([^\]]+)\]\(#[^)]+\)")
_HERE = Path(__file__).parent


def citations(text: str) -> list[str]:
    """Anchors that a text cites, in order, each once."""
    return list(dict.fromkeys(rule or report for rule, report in _CITATION.findall(text)))


def as_links(text: str) -> str:
    """A text for the manual: its citations as Markdown links to the page."""
    return _CITATION.sub(lambda match: "[{0}]({1}#{0})".format(match[1] or match[2], PAGE), text)


def is_citation(word: str) -> bool:
    """True for ``#anchor`` and for the name of a report."""
    return word.startswith("#") or bool(_CITATION.fullmatch(word))


def paragraph(anchor: str) -> str:
    """What the page says at an anchor, as plain text.

    Args:
        anchor: with or without the ``#``.

    Raises:
        UsageError: the page has no such anchor; the nearest ones are named.
    """
    name, known = anchor.lstrip("#"), paragraphs()
    if name not in known:
        near = nearest(name, known)
        raise UsageError(
            "the reference has no such anchor",
            found=anchor,
            remedy=f"did you mean {' or '.join('#' + n for n in near)}?" if near else f"see docs/{PAGE}",
        )
    return known[name]


@cache
def paragraphs() -> Mapping[str, str]:
    """The page cut at its anchors: a row of a table alone, anything else up to the next anchor or heading."""
    found: dict[str, str] = {}
    open_names: list[str] = []
    for line in _page().splitlines():
        names = _ANCHOR.findall(line)
        if names and line.startswith("|"):
            found.update(dict.fromkeys(names, _row(line)))
            continue
        if names:
            open_names = names
            found.update(dict.fromkeys(names, ""))
            line = _ANCHOR.sub("", line)
            if not line:
                continue
        elif line.startswith("## ") and any(found[name] for name in open_names):
            open_names = []
        for name in open_names:
            found[name] += _plain(line) + "\n"
    return {name: text.strip() for name, text in found.items()}


def _row(line: str) -> str:
    cells = (_plain(cell).strip() for cell in line.strip("|").split("|"))
    return " | ".join(cell for cell in cells if cell)


def _plain(line: str) -> str:
    return _LINK.sub(r"[#\1]", _ANCHOR.sub("", line)).lstrip("#").replace("**", "")


def _page() -> str:
    shipped = _HERE / "pages" / Path(PAGE).name
    return (shipped if shipped.is_file() else _HERE.parent / "docs" / PAGE).read_text("utf-8")


def footer(texts: Iterable[str]) -> str | None:
    """The line below a listing that says where its citations lead; None when it has none."""
    names = [name for text in texts for name in citations(text)]
    return f"evidence: n6convert explain '#{names[0]}' prints what is known of it" if names else None
