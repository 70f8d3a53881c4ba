"""What a rewrite rule is, and what the engine tells it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.graph.builder import Builder

__all__ = ["Context", "Found", "Rewrite"]

Found = TypeVar("Found")
Values = Callable[..., list[NDArray[Any]]]


def _no_values(*_: ir.Value) -> list[NDArray[Any]]:
    return []


@dataclass
class Context:
    """What a rule may ask about the conversion.

    Attributes:
        version: (major, minor) of the target's ST Edge AI core; rules choose operator forms by it.
        values: the arrays a tensor takes on the calibration samples; empty without samples. Further tensors are
            computed along with it, since they are asked for next.
        approximate: names of approximate rules that may run.
        timer: predicted milliseconds of a float graph as INT8; None without a predictor.
        switches: what the target's compiler is told beyond the stock profile, such as ``expand-softmax``.
        recurrent_steps: steps up to which a recurrent cell is unrolled.
        choices: option by rule and kind of place, where not the first is wanted (see :meth:`Rewrite.options`).
    """

    version: tuple[int, int] = (2, 1)
    values: Values = field(default=_no_values)
    approximate: frozenset[str] = frozenset()
    timer: Callable[[ir.Model], float] | None = None
    switches: frozenset[str] = frozenset()
    recurrent_steps: int = 128
    choices: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def chosen(self, rule: str, kind: str, options: Sequence[str]) -> str:
        """The option to take at a kind of place.

        Args:
            rule: its name.
            kind: of place.
            options: to choose from; the first is the default.
        """
        return self.choices.get((rule, kind), options[0])

    def span(self, value: ir.Value, default: tuple[float, float]) -> tuple[float, float]:
        """Smallest and largest value of a tensor over the samples; ``default`` without samples."""
        arrays = self.values(value)
        if not arrays:
            return default
        return float(min(a.min() for a in arrays)), float(max(a.max() for a in arrays))


class Rewrite(ABC, Generic[Found]):
    """One graph rule: pattern, check, replacement, always in that order.

    The engine shows every node whose operator is in :attr:`roots` to :meth:`pattern`; what that returns goes through
    :meth:`check` and, when nothing speaks against it, to :meth:`replace`. The new values stand for the root's outputs.
    Every application is proven on real samples by the engine; a rule needs no numerics of its own.
    """

    #: what recipes and reports call the rule
    name: ClassVar[str]
    #: operators of the node at which the pattern ends (its outputs are what gets replaced)
    roots: ClassVar[frozenset[str]]
    #: same function in real arithmetic; approximate rules run only when a recipe names them
    exact: ClassVar[bool] = True
    #: what an approximate rule costs, in a sentence with figures
    price: ClassVar[str] = ""
    #: largest change of an output that an approximate rule may cause, relative to the output's range
    tolerance: ClassVar[float] = 0.05
    #: clears the way for others (no-ops, layout changes) or replaces what ST's import refuses; not weighed by time
    housekeeping: ClassVar[bool] = False
    #: tried only when all rules before it are at rest: it works on what they leave
    late: ClassVar[bool] = False

    @abstractmethod
    def pattern(self, node: ir.Node) -> Found | None:
        """What the rule needs to know about its place, or None when the node does not have the form."""

    def check(self, found: Found, context: Context) -> str | None:
        """None when the rule may run here, else the reason against it as a sentence."""
        return None

    @abstractmethod
    def replace(self, found: Found, build: Builder, context: Context) -> Sequence[ir.Value] | None:
        """Build the new nodes; one value for each output of the root, or None when nodes were changed in place.

        Args:
            found: what :meth:`pattern` gave.
            build: makes the nodes.
            context: samples and predictor.
        """

    def options(self, found: Found, context: Context) -> Mapping[str, Sequence[str]]:
        """Where the rule could write several forms: kinds of places and their forms, the usual one first.

        Which form is taken at places of a kind is decided by the predicted time of the whole graph.
        """
        return {}

    def because(self, found: Found, context: Context) -> str:
        """Why this form was chosen instead of others, with the figures of all; empty when there was no choice."""
        return ""

    @property
    def summary(self) -> str:
        """First line of the rule's docstring."""
        return (self.__doc__ or self.name).strip().splitlines()[0]
