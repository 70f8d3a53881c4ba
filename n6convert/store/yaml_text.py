"""YAML as recipes use it: text, numbers, true, false, null, lists and mappings with text as keys; read within limits.

Size, depth and the number of values are counted while the text is parsed, aliases as often as they would be expanded,
so that nothing is built of a text that is too large. Everything else of YAML is refused with its line: dates, sets,
binary data and other tags.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import yaml

from n6convert.errors import RecipeError
from n6convert.escaping import plain_text

__all__ = ["Place", "compose", "plain", "read_own", "read_value"]

#: what a message calls a line of the text, counted from 1; None for the whole
Place = Callable[["int | None"], str]

_MOST_CHARACTERS = 200_000
_MOST_VALUES = 20_000
_DEEPEST = 24
_LONGEST_NUMBER = 40
_CORE = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}
_KEYS = {"tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"}
_SHOWN = 80


def read_own(package: str, name: str) -> Any:
    """A data file of n6convert's own, without limits: by libyaml where that is there, in a tenth of the time."""
    text = resources.files(package).joinpath(name).read_text(encoding="utf-8")
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_value(text: str, place: str) -> Any:
    """One value, such as that of a setting.

    Raises:
        RecipeError: it is not YAML, or none that a recipe may hold.
    """

    def same(line: int | None) -> str:
        return place

    node = compose(text, same)
    return None if node is None else plain(node, same)


def compose(text: str, place: Place) -> yaml.Node | None:
    """The tree of a text, checked against the limits and the kinds of values there are; None for an empty one.

    Raises:
        RecipeError: not YAML, too large, too deep, an odd key or value.
    """
    if len(text) > _MOST_CHARACTERS:
        raise RecipeError("the YAML is too long", place=place(None), limit=f"{_MOST_CHARACTERS:,} characters",
                          found=f"{len(text):,}")  # fmt: skip
    try:
        _count(text, place)
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RecipeError(
            "this is not valid YAML", place=place(mark.line + 1 if mark else None), found=_brief(error)
        ) from None
    if node is not None:
        _check_kinds(node, place)
    return node


def plain(node: yaml.Node, place: Place) -> Any:
    """The data of a tree that :func:`compose` gave.

    Raises:
        RecipeError: a merge key without a mapping.
    """
    loader = yaml.SafeLoader("")
    try:
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise RecipeError(
            "this is not valid YAML", place=place(mark.line + 1 if mark else None), found=_brief(error)
        ) from None
    finally:
        loader.dispose()


def _count(text: str, place: Place) -> None:
    """Refuse what is too deep or too large, before a tree is built: the parser's events need no memory."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            if event.anchor:
                sizes.pop(event.anchor, None)
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise RecipeError("wrong value: it contains itself", place=place(line), found=f"*{event.anchor}")
            total += sizes.get(str(event.anchor), 1) - 1  # the alias itself is counted below
        elif isinstance(event, yaml.ScalarEvent) and event.anchor:
            sizes[event.anchor] = 1
        total += isinstance(event, yaml.NodeEvent)
        if len(open_nodes) > _DEEPEST:
            raise RecipeError("the YAML is nested too deeply", place=place(line), limit=f"{_DEEPEST} levels")
        if total > _MOST_VALUES:
            raise RecipeError("the YAML holds too much", place=place(line), limit=f"{_MOST_VALUES:,} values, "
                              "each alias counted with what it stands for")  # fmt: skip


def _check_kinds(node: yaml.Node, place: Place) -> None:
    loader = yaml.SafeLoader("")
    pending, seen = [node], set()
    while pending:
        current = pending.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        _check_kind(current, loader, place)
        if isinstance(current, yaml.MappingNode):
            for key, value in current.value:
                _check_key(key, place)
                pending += [value]
        elif isinstance(current, yaml.SequenceNode):
            pending += current.value


def _check_kind(node: yaml.Node, loader: yaml.SafeLoader, place: Place) -> None:
    line = node.start_mark.line + 1
    if node.tag not in _CORE:
        raise RecipeError(
            "a value is neither text, a number, true, false, null, a list nor a mapping",
            place=place(line),
            found=f"{_shown(node)}, in YAML {plain_text(node.tag.rpartition(':')[2])}",
            remedy=_quotes(node),
        )
    if isinstance(node, yaml.ScalarNode) and node.tag.endswith((":int", ":float", ":bool", ":null")):
        if len(node.value) > _LONGEST_NUMBER:
            limit = f"{_LONGEST_NUMBER} characters"
            raise RecipeError("a number is too long", place=place(line), limit=limit, found=_shown(node))
        try:
            loader.construct_object(node)
        except (ValueError, LookupError):  # what a tag promises and the text does not hold
            raise RecipeError(
                "a value is not what its tag says", place=place(line), found=_shown(node), limit=node.tag
            ) from None
    if (node.tag.endswith(":map"), node.tag.endswith(":seq")) != (
        isinstance(node, yaml.MappingNode), isinstance(node, yaml.SequenceNode)
    ):  # fmt: skip
        raise RecipeError("a value is not what its tag says", place=place(line), found=_shown(node), limit=node.tag)


def _check_key(key: yaml.Node, place: Place) -> None:
    if key.tag not in _KEYS or not isinstance(key, yaml.ScalarNode):
        raise RecipeError(
            "a key must be text", place=place(key.start_mark.line + 1), found=_shown(key), remedy=_quotes(key)
        )


def _quotes(node: yaml.Node) -> str | None:
    return f"put it in quotes: '{_shown(node)}'" if isinstance(node, yaml.ScalarNode) else None


def _shown(node: yaml.Node) -> str:
    text = plain_text(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _brief(error: BaseException) -> str:
    text = str(getattr(error, "problem", None) or error).strip()
    return text.splitlines()[0] if text else type(error).__name__
