"""Running graphs and comparing what they give; threads and child processes."""

from n6convert.lazy import first_use

_MEASURES = (
    "BOUNDED",
    "LIMIT_DB",
    "Noise",
    "decibel",
    "energy",
    "least_sizes",
    "max_relative_difference",
    "relative_differences",
    "sqnr_db",
    "squared_gaps",
)

__getattr__ = first_use(
    "n6convert.runtime", dict.fromkeys(_MEASURES, "comparison") | dict.fromkeys(("Session", "run_model"), "session")
)
