"""What a stage makes, and how later stages see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.store.cache import Entry, key_of

if TYPE_CHECKING:
    import onnx_ir as ir

__all__ = ["MODEL_FILE", "Artifact", "Inputs", "StageResult"]

MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class StageResult:
    """What a stage made.

    Attributes:
        facts: JSON-ready facts for the report (no NaN or infinity); the key ``warnings`` holds sentences that the
            report lists on top.
        model: the new graph, None for stages that only look.
        files: further files by relative name: content, or a file to copy (:attr:`Run.workspace` is a place for them).
    """

    facts: dict[str, Any]
    model: ir.Model | None = None
    files: Mapping[str, bytes | Path] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """A stage's result as later stages see it: read from disk, so that resumed and fresh runs see the same bytes."""

    stage: str
    key: str
    entry: Entry

    @property
    def facts(self) -> Mapping[str, Any]:
        """Plain data that the stage found."""
        return self.entry.facts

    @property
    def model_path(self) -> Path:
        """The file of the stage's graph."""
        return self.entry.folder / MODEL_FILE

    @property
    def identity(self) -> Mapping[str, str]:
        """Hashes of files and facts, which is what decides the results of later stages."""
        return {**self.entry.files, "facts": key_of(self.entry.facts)}

    def load(self) -> ir.Model:
        """The stage's graph."""
        import onnx_ir as ir

        return ir.load(self.model_path)


Inputs = Mapping[str, Artifact]
