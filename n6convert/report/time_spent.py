"""Where the predicted time goes, for the page: shares by bound, the longest epochs, and what would change them."""

from __future__ import annotations

from typing import Any

from n6convert.report.svg import Row, bars
from n6convert.results.sections import Latency, LongEpoch

__all__ = ["BOUND_WORDS", "time_spent"]

BOUND_WORDS = {
    "compute": "computing units of the NPU",
    "flash": "weights from flash",
    "memory": "activations on the chip",
    "external": "activations in external RAM",
    "software": "software on the CPU",
    "hybrid": "CPU and NPU together",
    "overhead": "starts of epochs",
}
_COLOURS = {"software": "sw", "hybrid": "hybrid", "external": "sw", "overhead": "none"}


def time_spent(latency: Latency | None) -> dict[str, Any]:
    """Values of the section; empty for a report that does not know."""
    known = latency.bottlenecks if latency else None
    if known is None or not known.milliseconds:
        return {}
    total = sum(known.milliseconds.values()) or 1.0
    ranked = sorted(known.milliseconds.items(), key=lambda item: -item[1])
    rows = [
        Row(BOUND_WORDS.get(name, name), value, f"{value:.2f} ms, {value / total:.0%}", _COLOURS.get(name, "hw"))
        for name, value in ranked
    ]
    return {
        "bars": bars(rows, "Predicted time by what it waits for"),
        "longest": [_long(epoch) for epoch in known.longest],
        "levers": [{"name": lever.name, "gain": f"{lever.gain:.2f}", "how": lever.how} for lever in known.levers],
    }


def _long(epoch: LongEpoch) -> dict[str, str]:
    lever = f"{epoch.lever}: {epoch.gain:.2f} ms less" if epoch.lever else "nothing known"
    return {
        "operators": f"{epoch.operators} (epoch {epoch.epoch})",
        "milliseconds": f"{epoch.milliseconds:.2f}",
        "share": f"{epoch.share:.0%}",
        "bound": BOUND_WORDS.get(epoch.bound, epoch.bound),
        "lever": lever,
    }
