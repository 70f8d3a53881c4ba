"""What a stage is, and what it sees of the run it is part of."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from n6convert.pipeline.artifact import Inputs, StageResult

if TYPE_CHECKING:
    from n6convert.pipeline.run import Run

__all__ = ["Stage"]


class Stage(ABC):
    """One step: named stages' results in, a model or facts out.

    A result is reused when the inputs' hashes, :meth:`parameters`, the code of n6convert and of the plugin, and the
    versions of the libraries that compute are the same.
    """

    #: shown in the report and in progress
    name: ClassVar[str]
    #: stages whose results this one reads
    inputs: ClassVar[tuple[str, ...]] = ()
    #: those of them that :meth:`early` reads; none: there is no such work
    early_inputs: ClassVar[tuple[str, ...]] = ()
    #: what :meth:`make` imports
    modules: ClassVar[tuple[str, ...]] = ()
    #: stage in whose place later stages read this one's result
    improves: ClassVar[str | None] = None

    def wanted(self, run: Run) -> bool:
        """Whether this run has the stage at all."""
        return True

    @abstractmethod
    def parameters(self, run: Run) -> Mapping[str, Any]:
        """JSON-ready choices that decide the result, besides the inputs. Must not load the plugin."""

    def begin(self, run: Run) -> None:
        """Start another process that :meth:`make` will wait for, before the stages before it; it ends with
        ``run.ending``."""
        return

    def early(self, run: Run, inputs: Inputs) -> Any:
        """Do what needs no other inputs than these, in a copy of the process while stages in between are made.

        :meth:`make` finds it in ``run.early``, pickled, or does it itself.
        """
        return None

    @abstractmethod
    def make(self, run: Run, inputs: Inputs) -> StageResult:
        """Do the work and check it: a stage that breaks its tolerance raises."""
