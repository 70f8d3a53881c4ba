"""How a rule is written: one predicate over one operator, whose docstring is the sentence that users read.

Rules of an operator are tried in the order in which they are registered; the first that applies decides. Constants of
:mod:`n6convert.npu.rules.limits` may be named in braces in the docstring.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from n6convert.npu.graph import Graph, Node
from n6convert.npu.ir import Tensor, Where
from n6convert.npu.rules.limits import values
from n6convert.operators.versions import Version, feature, holds

__all__ = ["ANY", "COPY", "DEPTHWISE_REST", "Rule", "Subject", "add", "registered", "rule", "rules_for"]

ANY = "*"
"""Rules of this operator apply to every operator, before its own."""
COPY = "Copy"
"""Stands for the copies that the compiler inserts."""
DEPTHWISE_REST = "DepthwiseRest"
"""Stands for the narrow sub-kernels of a large depthwise convolution."""

_RULES: dict[str, list[Rule]] = defaultdict(list)


@dataclass(frozen=True, slots=True)
class Subject:
    """One operator in its graph, as the predicates see it."""

    graph: Graph
    node: Node
    version: Version
    written_by_sw: frozenset[str] = field(default_factory=frozenset)
    """Inputs that a software or hybrid operator writes."""
    stored_channel_last: frozenset[str] = field(default_factory=frozenset)
    """Inputs that a software Softmax leaves in channel-last order."""
    switches: frozenset[str] = field(default_factory=frozenset)
    """Compiler options beyond the stock profile."""
    final: frozenset[str] = field(default_factory=frozenset)
    """Outputs of the network, and tensors that nobody reads but a change of their layout at its end."""
    pointwise_pairs: frozenset[str] = field(default_factory=frozenset)
    """Tensors that two or more 1x1 convolutions read."""

    @property
    def data(self) -> list[Tensor]:
        """Activation inputs."""
        known = (self.graph.tensors[name] for name in self.node.inputs if name)
        return [tensor for tensor in known if not tensor.constant]

    @property
    def parameters(self) -> list[Tensor]:
        """Constant inputs."""
        return [self.graph.tensors[name] for name in self.node.inputs if name and self.graph.constant(name)]

    @property
    def output(self) -> Tensor:
        """First output."""
        return self.graph.tensors[self.node.outputs[0]]

    def input(self, index: int) -> Tensor | None:
        """An input by position, None when absent."""
        names = self.node.inputs
        return self.graph.tensors[names[index]] if index < len(names) and names[index] else None

    def attribute(self, name: str, default: Any = None) -> Any:
        """An attribute of the operator."""
        return self.node.attributes.get(name, default)

    def axis(self, default: int = 0) -> int:
        """The ``axis`` attribute as a non-negative number."""
        rank = max(len(self.data[0].shape) if self.data else 1, 1)
        return int(self.attribute("axis", default)) % rank


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the placement table."""

    name: str
    ops: tuple[str, ...]
    where: Where
    float: bool
    sentence: str
    evidence: str
    applies: Callable[[Subject], bool]
    remedy: str | None = None
    rewrite: str | None = None
    needs: str | None = None
    """Feature of the compiler without which the rule does not exist."""
    without: str | None = None
    """Feature of the compiler with which the rule no longer exists."""
    since: Version | None = None
    """Version of the compiler from which on the rule exists."""

    def covers(self, version: Version) -> bool:
        """True when the rule belongs to this compiler version."""
        return holds(version, needs=self.needs, without=self.without, since=self.since)


def rule(
    *ops: str,
    where: Where,
    evidence: str,
    as_float: bool = False,
    remedy: str | None = None,
    rewrite: str | None = None,
    needs: str | None = None,
    without: str | None = None,
) -> Callable[[Callable[[Subject], bool]], Callable[[Subject], bool]]:
    """Register a predicate as a rule of ``ops`` for compilers that have the feature ``needs`` and not ``without``.

    Args:
        where: the place that it decides.
        evidence: where it is known from.
        as_float: whether the operator computes in float there.
        remedy: how to move it to the NPU.
        rewrite: name of the rewrite that does.
        needs: feature of the compiler without which it does not hold.
        without: feature of the compiler with which it no longer holds.

    Raises:
        KeyError: ``n6convert/operators/compiler.yaml`` has no such feature.
    """
    for name in (needs, without):
        if name is not None:
            feature(name)

    def register(predicate: Callable[[Subject], bool]) -> Callable[[Subject], bool]:
        sentence = " ".join((inspect.getdoc(predicate) or "").split()).format(**values())
        name = predicate.__name__.replace("_", "-")
        made = Rule(name, ops, where, as_float, sentence, evidence, predicate, remedy, rewrite, needs, without)
        add(made)
        return predicate

    return register


def add(made: Rule) -> None:
    """Put a rule behind those that its operators have."""
    for op in made.ops:
        _RULES[op].append(made)


def rules_for(op: str) -> list[Rule]:
    """Rules that may decide an operator, in the order in which they are tried."""
    return [*_RULES[ANY], *_RULES.get(op, [])] if op in _RULES else list(_RULES[ANY])


def registered() -> list[str]:
    """Operators that have rules of their own."""
    return sorted(op for op in _RULES if op != ANY)
