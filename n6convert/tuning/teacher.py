"""The float model during training: its outputs, and its tensors where blocks of the INT8 model end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from n6convert.runtime.session import Session
from n6convert.tuning.loss import Reference
from n6convert.tuning.quantization import tokens_of, with_outputs, without_padding
from n6convert.types import Feeds

__all__ = ["Teacher"]


class Teacher:
    """Args:
        prepared: the float model, tensor by tensor the INT8 one's.
        ends: tensors inside that are wanted.

    Attributes:
        outputs: names of the float outputs.
    """

    def __init__(self, prepared: ir.Model, ends: Sequence[str], threads: int | None = None) -> None:
        self._graph = prepared.graph
        self._whole = Session(prepared, threads=threads)
        names = [v.name or "" for v in prepared.graph.outputs]
        inner = [n for n in ends if n not in names]
        self._inner = Session(with_outputs(prepared, [*names, *inner]), threads=threads) if inner else self._whole
        self.outputs = names
        self.spread: dict[str, float] = {}

    def measure(self, samples: Sequence[Feeds]) -> None:
        """Measure the sizes by which errors are counted."""
        reference = Reference()
        for feeds in samples:
            tokens = tokens_of(self._graph, feeds)
            for name, values in self.run(feeds, inside=True).items():
                if values.dtype.kind == "f":
                    reference.add(name, without_padding(values, tokens))
        self.spread = reference.spread

    def run(self, feeds: Feeds, *, inside: bool) -> dict[str, NDArray[Any]]:
        """The outputs, and with ``inside`` the ends of blocks as well."""
        session = self._inner if inside else self._whole
        return session.run_on(feeds)

    def run_all(self, samples: Sequence[Feeds], *, inside: bool) -> dict[str, NDArray[Any]]:
        """:meth:`run` of samples, along a new first axis."""
        found = [self.run(feeds, inside=inside) for feeds in samples]
        return {name: np.stack([f[name] for f in found]) for name in found[0]}

    def tokens(self, samples: Sequence[Feeds]) -> NDArray[np.bool_] | None:
        """Places of texts that are no padding, ``[samples, places]``; None where nothing is padded."""
        found = [tokens_of(self._graph, feeds) for feeds in samples]
        known = next((t for t in found if t is not None), None)
        return None if known is None else np.stack([np.ones_like(known) if t is None else t for t in found])
