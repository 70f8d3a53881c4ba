"""Which function translates an operator of TFLite, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable

from n6convert.npu.layout import permuted
from n6convert.npu.tflite_file import TFLiteOperator
from n6convert.npu.tflite_translator import Translator

__all__ = ["HANDLERS", "Handler", "broadcast", "translates"]

Handler = Callable[[Translator, TFLiteOperator], None]
HANDLERS: dict[str, Handler] = {}


def translates(*kinds: str) -> Callable[[Handler], Handler]:
    """Register the translation of operators."""

    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(kinds, handler))
        return handler

    return register


def broadcast(t: Translator, name: str, rank: int) -> str:
    """An operand under a name whose shape fits ``rank`` in channel-first order.

    Args:
        t: the translation.
        name: of the operand.
        rank: of the operator.
    """
    if not name or not t.first or (t.rank(name) == rank and not t.graph.constant(name)):
        return name
    shape = (1,) * (rank - t.rank(name)) + t.original(name)
    inner = permuted(shape, t.perm(rank))
    if t.graph.constant(name):
        return t.fresh(name, "view", inner)
    view = t.fresh(name, "view", inner)
    t.emit("Reshape", [name], [view])
    return view
