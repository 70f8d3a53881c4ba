"""The Neural-ART model: where operators run, epochs, cycles, memory and time, predicted offline."""

from __future__ import annotations
