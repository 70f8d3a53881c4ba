"""What would make several models fit: the smallest changes, cheapest first. Each is tried, or says that it is not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations
from math import sqrt
from typing import TYPE_CHECKING

from n6convert.fitting.plan import Together, plan
from n6convert.report.words import kib

if TYPE_CHECKING:
    from n6convert.fitting.resident import Resident
    from n6convert.npu.st.mpool import MemoryPool

__all__ = ["advise"]

_MOST_ORDERED = 6
#: sides of input images that every image model here takes
_STEP = 32


def advise(together: Together, pools: Sequence[MemoryPool]) -> list[str]:
    """Sentences; empty where everything fits on the chip."""
    return [
        *_about_results(together, pools),
        *(text for resident in together.residents if (text := _smaller(resident, together))),
        *_about_flash(together),
    ]


def _about_results(together: Together, pools: Sequence[MemoryPool]) -> Iterator[str]:
    """Results that wait: another order, or reading them at once."""
    homeless = [kept for kept in together.kept if kept.pool is None]
    if not homeless:
        return
    yield f"{', '.join(k.name for k in homeless)}: {kib(sum(k.size for k in homeless))} of results find no place"
    residents = together.residents
    orders = permutations(residents) if len(residents) <= _MOST_ORDERED else ()
    better = next((order for order in orders if plan(order, pools).fits), None)
    if better:
        yield f"run them in this order: {', '.join(r.name for r in better)}"
    at_once = {kept.name for kept in homeless}
    if plan([replace(r, results=0) if r.name in at_once else r for r in residents], pools).fits:
        yield f"read the results of {' and '.join(sorted(at_once))} before the next model runs: then everything fits"


def _smaller(resident: Resident, together: Together) -> str | None:
    """How much smaller an input would keep a model on the chip, by proportion."""
    outside = resident.missing + sum(resident.arena.get(pool.name, 0) for pool in together.pools if pool.external)
    if not outside:
        return None
    share = together.on_chip / (together.on_chip + outside)
    state = "which find no place" if resident.missing else "which external RAM takes, at a multiple of the time"
    return (
        f"{resident.name}: its activations are {kib(outside)} too large for the chip, {state}; give it an input of "
        f"{_shrunk(resident, share)}{100 * share:.0f} % of the values (by proportion, not tried)"
    )


def _shrunk(resident: Resident, share: float) -> str:
    """``224 x 224 instead of 256 x 256, `` for an image."""
    image = next((shape for shape in resident.inputs if len(shape) == 4), None)
    if image is None:
        return ""
    sides = image[1:3] if image[3] < image[1] else image[2:4]  # channel last or first
    small = [max(_STEP, int(side * sqrt(share)) // _STEP * _STEP) for side in sides]
    return f"{small[0]} x {small[1]} instead of {sides[0]} x {sides[1]}, at most "


def _about_flash(together: Together) -> Iterator[str]:
    over = together.flash_used - together.flash_size
    if over <= 0:
        return
    enough = [region for region in together.flash if region.size >= over]
    least = min(enough, key=lambda region: region.size, default=None)
    leave = f"; without {least.name} the rest fits" if least else "; no single model is that large"
    yield f"the weights need {kib(over)} more flash than the board has{leave}"
