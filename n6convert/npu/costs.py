"""Memory, cycles and time of a schedule in one call: what ``estimate`` adds to the placement."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from n6convert.npu.epoch_cost import EpochCost
from n6convert.npu.interval import frame_of, shares_of
from n6convert.npu.ir import Lowered, OperatorReport, Schedule
from n6convert.npu.latency import Latency, epoch_costs, latency
from n6convert.npu.memory import MemoryPlan, plan_memory
from n6convert.npu.targets import Target

__all__ = ["Costs", "cost", "fill_operators"]


@dataclass(slots=True)
class Costs:
    """Everything that follows from a schedule; ``epochs`` is in schedule order."""

    memory: MemoryPlan
    latency: Latency
    epochs: list[EpochCost]

    @property
    def compute_cycles(self) -> int:
        """NPU cycles of the computing units, summed over the epochs."""
        return round(sum(epoch.compute_cycles for epoch in self.epochs))

    @property
    def max_cycles(self) -> int:
        """The compiler's own estimate of the model: the sum of max_cycles, software placeholders included."""
        return round(sum(epoch.max_cycles for epoch in self.epochs))

    @property
    def time_share(self) -> float | None:
        """Share of the predicted time spent in hardware epochs (0..1)."""
        total = sum(epoch.microseconds + epoch.overhead for epoch in self.epochs)
        hardware = sum(epoch.microseconds + epoch.overhead for epoch in self.epochs if epoch.kind == "hw")
        return hardware / total if total else None

    def as_dict(self) -> dict[str, Any]:
        """The parts ``memory``, ``cycles`` and ``latency`` of report.json."""
        memory, time = self.memory, self.latency
        pools = [
            {
                "name": p.name,
                "size": p.size,
                "used": p.used,
                "weights": p.weights,
                "activations": p.activations,
                "external": p.external,
            }
            for p in memory.pools
        ]
        return {
            "memory": {
                "pools": pools,
                "weights": memory.weights,
                "activations": memory.activations,
                "fits": memory.fits,
                "missing": memory.missing,
                "external": memory.external,
                "peak": memory.peak,
                "peak_epoch": memory.peak_epoch,
                "buffers": [
                    {"name": b.name, "bytes": b.size, "first": b.first, "last": b.last, "pool": b.pool and b.pool.name}
                    for b in memory.buffers
                ],
            },
            "cycles": {"compute": self.compute_cycles, "max": self.max_cycles},
            "latency": {
                "milliseconds": round(time.milliseconds, 4),
                "low": round(time.low, 4),
                "high": round(time.high, 4),
                "parts": {name: round(value, 4) for name, value in time.parts.items()},
                "assumptions": time.assumptions,
            },
        }


def cost(lowered: Lowered, schedule: Schedule, target: Target, *, allocate: tuple[bool, bool] = (True, True)) -> Costs:
    """Place the buffers of a schedule, inputs and outputs among them or not, and price its epochs on a target.

    Args:
        lowered: operators of the graph.
        schedule: their epochs.
        target: board and compiler version.
        allocate: whether inputs and outputs lie among the activations.
    """
    memory = plan_memory(lowered, schedule, target, allocate=allocate)
    epochs = epoch_costs(lowered, schedule, memory, target)
    shares = shares_of(lowered, schedule, epochs, frame_of(lowered, target.version))
    return Costs(memory, latency(epochs, memory, target, shares), epochs)


def fill_operators(operators: Iterable[OperatorReport], costs: Costs) -> None:
    """Write cycles and microseconds of its epoch into the first operator of every epoch, 0 into those fused with it."""
    by_id = {epoch.id: epoch for epoch in costs.epochs}
    seen: set[int] = set()
    for operator in operators:
        epoch = by_id.get(operator.epoch)
        if epoch is None:
            continue
        first = operator.epoch not in seen
        seen.add(operator.epoch)
        operator.cycles = round(epoch.max_cycles) if first else 0
        operator.microseconds = round(epoch.microseconds + epoch.overhead, 3) if first else 0.0
        operator.bound = epoch.waits_for or None
