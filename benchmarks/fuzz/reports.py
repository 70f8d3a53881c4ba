"""Folders of finished runs that somebody sent: report.json, manifest and compile command with odd parts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["write"]

_ODD = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**30, 10**400, "", "x", [], {}, [1], {"a": 1}, [[]],
    "../" * 20 + "etc/passwd", "a" * 5000, "\ud800", "\x1b[2J", "pictures/../../etc/passwd", 1 << 40,
    '"><script>alert(1)</script>', "hw\" onload=\"alert(1)",
]  # fmt: skip
_COMMANDS = [
    ["stedgeai"],
    ["a", "b", "--model", "../m", "--output", "/"],
    "x",
    [1, 2, 3],
    ["x", "y", "-m", "m.onnx", "-o", "."],
]


def write(rng: Random, folder: Path) -> list[list[str]]:
    """One to five odd parts; every command that reads runs."""
    report = _report()
    places = list(_leaves(report))
    for path in rng.sample(places, rng.randint(1, 5)):
        _put(rng, report, path)
    text = json.dumps(report)
    if rng.random() < 0.1:
        text = rng.choice(["[" * 100_000, text[: rng.randrange(len(text))], "9" * 5000, "", "\x00"])
    run = folder / "run"
    run.mkdir()
    (run / "report.json").write_text(text)
    (run / "m.onnx").write_text("x")
    (run / "stedgeai.json").write_text(json.dumps({"target": rng.choice(_ODD[:8]), "command": rng.choice(_COMMANDS)}))
    return [
        ["report", "run", "--output", "page.html"], ["diff", "run", "run"],
        ["fit", "run", "run", "--output", "fit.html"], ["compile", "run"],
    ]  # fmt: skip


def _put(rng: Random, report: dict[str, Any], path: tuple[Any, ...]) -> None:
    inner: Any = report
    try:
        for key in path[:-1]:
            inner = inner[key]
        if rng.random() < 0.2:
            del inner[path[-1]]
        else:
            inner[path[-1]] = rng.choice(_ODD)
    except (KeyError, IndexError, TypeError):
        return  # its parent went before


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from _leaves(inner, (*path, key))


def _report() -> dict[str, Any]:
    operator = {"name": "n", "op": "Conv", "where": "hw", "epoch": 1, "microseconds": 5.0, "reason": "because"}
    side = {
        "epochs": {"total": 2, "hw": 1, "hybrid": 0, "sw": 1}, "offload": 0.5, "sw_ops": {"Softmax": 1},
        "hybrid_ops": {},
        "operators": [operator, operator | {"op": "Softmax", "where": "sw", "epoch": 2}],
    }  # fmt: skip
    return {
        "schema_version": "1.0", "n6convert": "0.1.0", "status": "accepted", "model": "net", "name": "net",
        "target": "stm32n6570-dk@4.0", "weights": {"kind": "file", "origin": "net.pt", "trained": True},
        "recipe": {"model": "net", "options": {"imgsz": 64}, "seed": 0}, "warnings": ["few samples"],
        "stages": [{"name": "export", "seconds": 1.25, "cached": False, "facts": {"inputs": [{"shape": [1, 3]}]}}],
        "placement": {"before": side, "after": side},
        "latency": {"milliseconds": 0.8, "low": 0.6, "high": 1.1, "parts": {}, "assumptions": ["clock 1 GHz"]},
        "memory": {
            "pools": [{"name": "npuRAM5", "size": 458752, "used": 2000, "weights": 0, "activations": 2000}],
            "weights": 5000, "activations": 2000, "fits": True, "missing": 0, "external": 0, "peak": 2000,
            "peak_epoch": 2,
            "buffers": [{"name": "a", "bytes": 1500, "first": 1, "last": 3, "pool": "npuRAM5"}],
        },
        "advice": [{"op": "Softmax", "epochs": 2, "microseconds": 8.0, "gain_microseconds": 7.0, "remedy": "r"}],
        "rewrites": {
            "applied": [{"rule": "r", "times": 2, "gain_ms": 0.7, "where": ["s"]}],
            "refused": [{"rule": "r", "where": "c", "why": "It would cost time."}],
        },
        "accuracy": {"metric": "AP", "float": 41.0, "int8": 40.5, "drop": 0.5, "samples": 64, "interval": [-0.2, 1.1]},
        "sqnr_db": {"y": 30.5},
        "quantization": {"worst": [{
            "name": "t", "sqnr_db": 9.5, "scale": 0.1, "zero_point": -128, "cause": "c", "remedy": "r",
            "histogram": {"low": 0.0, "high": 1.0, "counts": [1, 2]},
        }]},
        "acceptance": [{"limit": "max_drop", "allowed": 1.0, "found": 0.5, "kept": True}],
        "files": [{"path": "pictures/00-a.png", "sha256": "0" * 64}],
    }  # fmt: skip
