"""Is INT8 computed exactly on this CPU, and what does that cost?

Prints for each operator the largest distance in steps between the codes and integer arithmetic (0.5 is right), as
onnxruntime runs a QDQ file by default, with its precise option, and as n6convert runs it. With files: times of a run.

Another CPU can be had in simulation, e.g. one without VNNI: `qemu-x86_64 -cpu Haswell python benchmarks/bench_int8.py`.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
from nets.operators import CODES, OPERATORS, network
from numpy.typing import NDArray

from n6convert.runtime.int8.reference import TIE, steps_off
from n6convert.runtime.session import Session
from n6convert.runtime.threads import default_threads

Arrays = Mapping[str, NDArray[np.generic]]
REPEATS = 9


class Plain:
    """onnxruntime without anything of n6convert."""

    def __init__(self, model: ir.Model, precise: bool) -> None:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = default_threads()
        if precise:
            options.add_session_config_entry("session.x64quantprecision", "1")
        self.session = ort.InferenceSession(ir.to_proto(model).SerializeToString(), options)

    def run(self, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
        names = [o.name for o in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, dict(feeds)), strict=True))


WAYS: dict[str, Callable[[ir.Model], Plain | Session]] = {
    "onnxruntime": lambda m: Plain(m, False),
    "precise": lambda m: Plain(m, True),
    "n6convert": Session,
}


def main() -> None:
    """Operators first, then the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="one operator")
    parser.add_argument("files", nargs="*", type=Path, help="INT8 QDQ files to time")
    logging.getLogger("onnx_ir").setLevel(logging.ERROR)
    given = parser.parse_args()
    print(f"{'largest distance in steps':28}" + "".join(f"{way:>13}" for way in WAYS))
    wrong = dict.fromkeys(WAYS, 0)
    for name in [given.only] if given.only else OPERATORS:
        found = {way: max(_off(name, *kinds, make) for kinds in _kinds(name)) for way, make in WAYS.items()}
        print(f"{name:28}" + "".join(f"{found[way]:13.4f}" for way in WAYS))
        for way in WAYS:
            wrong[way] += found[way] > 0.5 + TIE
    print(f"{'operators that are wrong':28}" + "".join(f"{wrong[way]:13}" for way in WAYS))
    for file in given.files:
        times = {way: _milliseconds(make(ir.load(file))) for way, make in WAYS.items()}
        print(f"{file.name + ', ms':28.28}" + "".join(f"{times[way]:13.1f}" for way in WAYS))


def _kinds(name: str) -> list[tuple[str, str]]:
    return [(codes, weights) for codes in CODES for weights in (CODES if OPERATORS[name].weight else CODES[:1])]


def _off(name: str, codes: str, weights: str, make: Callable[[ir.Model], Plain | Session]) -> float:
    model, feeds = network(name, codes, weights)
    return steps_off(model, feeds, run=lambda m, f: _codes(make(model).run(feeds), m, f))["y_q"]


def _codes(found: Arrays, model: ir.Model, feeds: Arrays) -> dict[str, NDArray[np.generic]]:
    """Codes from the values of the outputs alone: a tensor that is looked at may run otherwise."""
    held = {n: v.const_value.numpy() for n, v in model.graph.initializers.items() if v.const_value is not None}
    values = {**feeds, "y": found["out"]}
    names = [k for k in values if f"{k}_scale" in held]
    return {f"{k}_q": (np.rint(values[k] / held[f"{k}_scale"]) + held[f"{k}_zero"]).astype(np.int8) for k in names}


def _milliseconds(session: Plain | Session) -> float:
    inner = getattr(session, "session", None) or session._session
    feeds = {i.name: np.random.default_rng(0).random(i.shape).astype(np.float32) for i in inner.get_inputs()}
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        session.run(feeds)
        times.append(time.perf_counter() - started)
    return 1000 * statistics.median(times)


if __name__ == "__main__":
    main()
