"""What one model needs of the board, read from its ``report.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

from n6convert.errors import SourceError
from n6convert.recipe.schema import OLD_TYPE_KEY
from n6convert.results import Report

__all__ = ["Resident", "with_unique_names"]


@dataclass(frozen=True)
class Resident:
    """One model's predicted needs, bytes and milliseconds.

    Attributes:
        arena: activation bytes in each pool while it runs, inputs and outputs included ([#allocation]).
        weights: bytes in flash: weights, and the tables of the package that lie beside them.
        tables: bytes of each of those tables.
        results: bytes of its outputs: what must outlive its turn until the application has read it.
        missing: bytes that find no place on the board even when it runs alone.
        inputs: shapes of its inputs.
    """

    name: str
    target: str
    arena: Mapping[str, int]
    results: int
    weights: int
    milliseconds: float
    low: float
    high: float
    missing: int = 0
    inputs: tuple[tuple[int, ...], ...] = ()
    tables: Mapping[str, int] = field(default_factory=dict)

    @property
    def activations(self) -> int:
        """Bytes of the whole arena, with or without a place."""
        return sum(self.arena.values()) + self.missing

    @classmethod
    def of(cls, report: Report) -> Resident:
        """From a run's report.

        Raises:
            SourceError: the report has no prediction.
        """
        memory, latency = report.memory, report.latency
        if memory is None or latency is None:
            raise SourceError(
                "this report has no predicted memory and time",
                place=report.model,
                remedy="convert the model again with this version",
            )
        return cls(
            name=report.model,
            target=report.target,
            arena={pool.name: pool.activations for pool in memory.pools if pool.activations},
            results=_result_bytes(report),
            weights=memory.weights + (memory.tables or 0),
            tables=_tables(report, memory.tables or 0),
            milliseconds=float(latency.milliseconds),
            low=float(latency.low),
            high=float(latency.high),
            missing=memory.missing,
            inputs=tuple(tuple(tensor.shape) for tensor in report.exported.inputs),
        )


def with_unique_names(residents: Sequence[Resident]) -> list[Resident]:
    """The same models with a number behind every name that occurs more than once."""
    names = [resident.name for resident in residents]
    return [
        resident if names.count(resident.name) == 1
        else replace(resident, name=f"{resident.name} #{names[: i + 1].count(resident.name)}")
        for i, resident in enumerate(residents)
    ]  # fmt: skip


def _result_bytes(report: Report) -> int:
    """Outputs as the board has them: the exported model's shapes in the package's output type."""
    package = report.recipe.get("package", {})
    width = 4 if package.get("output_type", package.get(OLD_TYPE_KEY)) == "float32" else 1
    return width * sum(prod(tensor.shape) for tensor in report.exported.outputs)


def _tables(report: Report, total: int) -> dict[str, int]:
    """The package's tables; one of all their bytes where a report does not tell them apart."""
    found = next((stage.facts.flash_tables for stage in report.stages if stage.name == "package"), {})
    return dict(found) or ({"tables": total} if total else {})
