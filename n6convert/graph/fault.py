"""What is wrong with a model file, at one place of it."""

from __future__ import annotations

from dataclasses import dataclass

from n6convert.errors import GraphError

__all__ = ["Fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """A reason to refuse a model before anything is computed; every command reports the same ones.

    Attributes:
        rule: what findings and documents call it.
        problem: one sentence that says what is wrong.
        node: operator and name, where it is a node's.
        tensor: name, where it is a tensor's.
        limit, found, remedy: as in errors.
    """

    rule: str
    problem: str
    node: str | None = None
    tensor: str | None = None
    limit: str | None = None
    found: str | None = None
    remedy: str = "export the model again; onnx.checker.check_model says more"

    @property
    def place(self) -> str | None:
        """Node and tensor in one text."""
        tensor = None if self.tensor is None else f"tensor {shortened(self.tensor)}"
        return ", ".join(part for part in (self.node and f"node {self.node}", tensor) if part) or None

    def error(self, path: object = None) -> GraphError:
        """The same as an error; ``path`` is the place of a fault that concerns the whole file."""
        place = self.place if self.place is not None else path
        return GraphError(self.problem, place=place, limit=self.limit, found=self.found, remedy=self.remedy)


def shortened(text: str, longest: int = 200) -> str:
    """A name as a message can hold it: one line, its middle left out where it is long."""
    line = text.encode("unicode_escape").decode() if not text.isprintable() else text
    return line if len(line) <= longest else f"{line[: longest // 2]}...{line[-longest // 2 :]}"
