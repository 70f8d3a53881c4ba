"""Inert stand-ins for pickled objects, and the names of the arrays they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.errors import SourceError

__all__ = ["Record", "flatten", "walk_modules"]

#: wrappers around a state dict that people save, in the order in which they are looked through
_WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "module", "net", "params")
_MAX_DEPTH = 64
_MOST_NAMES = 50_000


class Record:
    """What is left of a pickled object: the name of its class, its state, its items. It has no behavior.

    Attributes:
        type_name: full name of the class as the file spells it.
        state: the object's attributes.
        items: what was appended, for objects that were lists.
        entries: what was set by key, for objects that were mappings.
    """

    type_name = ""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}
        self.items: list[Any] = []
        self.entries: dict[Any, Any] = {}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute of the pickled object."""
        return self.state.get(name, default)

    def __repr__(self) -> str:
        return f"<record of {self.type_name}>"


def walk_modules(root: Record, prefix: str = "") -> Iterator[tuple[str, Record]]:
    """A pickled module and all modules below it, each with its dotted name, in the order of the file.

    A module that is held in two places has two names, as in torch's own ``state_dict``.

    Raises:
        SourceError: more names than any network has: each level of a file that holds the one below twice doubles them.
    """
    for count, found in enumerate(_walk(root, prefix, ())):
        _refuse_more_than(_MOST_NAMES, count)
        yield found


def flatten(tree: Any) -> dict[str, NDArray[Any]]:
    """Arrays by dotted name, as the module's ``state_dict`` would name them.

    ``tree`` is a state dict, a pickled module, or a dict that holds one of them under a usual name
    (``state_dict``, ``model`` ...). Other entries are left out.
    """
    for _ in range(4):
        if isinstance(tree, Record):
            return _module_tensors(tree)
        if not isinstance(tree, Mapping):
            return {}
        own = {str(k): v for k, v in tree.items() if isinstance(v, np.ndarray)}
        inner = next((tree[k] for k in _WRAPPERS if isinstance(tree.get(k), (Mapping, Record))), None)
        if own or inner is None:
            return own
        tree = inner
    return {}


def _walk(module: Record, prefix: str, above: tuple[int, ...]) -> Iterator[tuple[str, Record]]:
    if id(module) in above or len(above) > _MAX_DEPTH:
        return
    yield prefix, module
    children = module.state.get("_modules")
    for name, child in children.items() if isinstance(children, Mapping) else ():
        if isinstance(child, Record):
            yield from _walk(child, f"{prefix}.{name}" if prefix else str(name), (*above, id(module)))


def _refuse_more_than(most: int, count: int) -> None:
    if count >= most:
        raise SourceError(
            "the checkpoint names more modules or tensors than a network has", limit=f"{most:,}",
            found="modules that hold the same module several times", remedy="save its state_dict, and give that file",
        )  # fmt: skip


def _module_tensors(root: Record) -> dict[str, NDArray[Any]]:
    found: dict[str, NDArray[Any]] = {}
    for prefix, module in walk_modules(root):
        hidden = module.state.get("_non_persistent_buffers_set") or ()
        for group in ("_parameters", "_buffers"):
            members = module.state.get(group)
            for name, value in members.items() if isinstance(members, Mapping) else ():
                if isinstance(value, np.ndarray) and name not in hidden:
                    _refuse_more_than(_MOST_NAMES, len(found))
                    found[f"{prefix}.{name}" if prefix else str(name)] = value
    return found
