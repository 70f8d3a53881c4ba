"""Training samples in an order of their own every epoch, with memory that does not grow with their number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from n6convert.samples.base import Sample

__all__ = ["Example", "ExampleSource", "batches", "mixed"]

#: bytes of encoded samples among which the order is drawn
_HELD = 128 << 20


@dataclass(frozen=True, eq=False)
class Example:
    """One sample as the graph takes it.

    Attributes:
        sample: before encoding, with its label, for a training loss of the task.
    """

    feeds: Mapping[str, NDArray[Any]]
    sample: Sample | None = None


ExampleSource = Callable[[int], Iterable[Example]]
"""The training samples of an epoch; each epoch may vary them anew."""


def mixed(examples: Iterable[Example], seed: tuple[int, ...]) -> Iterator[Example]:
    """The examples in an order drawn by the seed, as far apart as memory allows."""
    draw, held, size = np.random.default_rng(seed), list[Example](), 0
    for example in examples:
        held.append(example)
        size += sum(np.asarray(a).nbytes for a in example.feeds.values())
        while size > _HELD and len(held) > 1:
            gone = held.pop(int(draw.integers(len(held))))
            size -= sum(np.asarray(a).nbytes for a in gone.feeds.values())
            yield gone
    yield from (held[i] for i in draw.permutation(len(held)))


def batches(source: ExampleSource, size: int, seed: int, skip: int = 0) -> Iterator[list[Example]]:
    """Batches without end, epoch after epoch; the first ``skip`` are left out, so that a resumed run sees the same.

    An epoch that gives nothing ends them.

    Args:
        source: opens the samples anew at each call.
        size: samples a batch.
        seed: of their order.
        skip: batches that are left out.
    """
    batch: list[Example] = []
    epoch = 0
    while True:
        count = 0
        for example in mixed(source(epoch), (seed, epoch)):
            count += 1
            batch.append(example)
            if len(batch) == size:
                if skip:
                    skip -= 1
                else:
                    yield batch
                batch = []
        if not count:
            return
        epoch += 1
