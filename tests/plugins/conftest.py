"""Shared by the plugins' firmware tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from n6convert.package.ports import Port


@pytest.fixture(scope="session")
def int8_ports() -> Callable[[Mapping[str, np.ndarray]], list[Port]]:
    """A min-max int8 grid for every output, as firmware sees it."""

    def ports(outputs: Mapping[str, np.ndarray]) -> list[Port]:
        found = []
        for name, values in outputs.items():
            low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
            scale = np.float32((high - low) / 255)
            found.append(Port(name, values.shape, float(scale), int(np.rint(-128 - low / scale)), channel_last=True))
        return found

    return ports
