"""What a sample is, and what a source of samples offers."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "SampleData", "SampleSource"]

SampleData = NDArray[Any] | str | Mapping[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Sample:
    """One input before encoding, with its label where there is one.

    Attributes:
        id: name within its source (a file name, a line number), for messages and the manifest.
        data: an image as uint8 RGB ``[height, width, 3]``, a text, or ready arrays by input name.
        label: what is true about the sample, in the form the plugin's metric reads; None when unlabeled.
    """

    id: str
    data: SampleData
    label: Any = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def sha256(self) -> str:
        """Hash of the content (not of the file that held it, nor of the label)."""
        digest = hashlib.sha256()
        parts: Mapping[str, Any] = self.data if isinstance(self.data, Mapping) else {"": self.data}
        for name in sorted(parts):
            value = parts[name]
            if isinstance(value, str):
                digest.update(f"{name}|str|".encode() + value.encode())
            else:
                array = np.ascontiguousarray(value)
                digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
                digest.update(array.tobytes())
        return digest.hexdigest()


class SampleSource(ABC):
    """Samples that can be walked over any number of times, one in memory at a time."""

    #: what the report calls the source: a folder, a file, "synthetic dead leaves"
    name: str
    #: True when nothing real was seen; reports then say that calibration was synthetic
    synthetic: bool = False

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples in a fixed order.

        Raises:
            SourceError: too large a share of the samples cannot be read.
        """

    def warnings(self) -> list[str]:
        """Sentences about what looks wrong: too few samples, unreadable ones, an unusual value range."""
        return []
