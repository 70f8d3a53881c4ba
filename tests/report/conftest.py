"""A small report as a run writes it, with every section filled."""

from __future__ import annotations

from typing import Any

import pytest


def operator(epoch: int, op: str, where: str, microseconds: float) -> dict[str, Any]:
    return {
        "name": f"node_{epoch}", "op": op, "where": where, "epoch": epoch, "reason": f"{op} because <it> is so.",
        "rule": "r", "evidence": "seen", "remedy": None, "rewrite": None, "macs": 0, "cycles": 10,
        "microseconds": microseconds, "sources": [], "float": False,
    }  # fmt: skip


def side(sw: int) -> dict[str, Any]:
    operators = [operator(i, "Conv", "hw", 100.0) for i in range(1, 9)]
    operators += [operator(9 + i, "Softmax", "sw", 400.0) for i in range(sw)]
    return {
        "epochs": {"total": 8 + sw, "hw": 8, "hybrid": 0, "sw": sw}, "offload": 8 / (8 + sw),
        "sw_ops": {"Softmax": sw} if sw else {}, "hybrid_ops": {}, "operators": operators,
    }  # fmt: skip


@pytest.fixture
def report() -> dict[str, Any]:
    return {
        "schema_version": "1.0", "n6convert": "0.1.0", "status": "accepted", "model": "net", "name": "net",
        "target": "stm32n6570-dk@4.0", "weights": {"kind": "file", "origin": "net.pt", "trained": True},
        "recipe": {"model": "net", "options": {"imgsz": 64}, "seed": 0},
        "warnings": ["calibration used only 8 samples"],
        "stages": [{"name": "export", "seconds": 1.25, "cached": False, "facts": {}}],
        "placement": {"before": side(2), "after": side(0)},
        "latency": {"milliseconds": 0.8, "low": 0.6, "high": 1.1, "parts": {}, "assumptions": ["clock 1 GHz"]},
        "memory": {
            "pools": [{"name": "npuRAM5", "size": 458752, "used": 200000, "weights": 0, "activations": 200000}],
            "weights": 5000, "activations": 200000, "fits": True, "missing": 0, "external": 0, "peak": 200000,
            "peak_epoch": 2,
            "buffers": [
                {"name": "a", "bytes": 150000, "first": 1, "last": 3, "pool": "npuRAM5"},
                {"name": "b", "bytes": 50000, "first": 2, "last": 8, "pool": "npuRAM5"},
            ],
        },
        "advice": [{
            "op": "Softmax", "epochs": 2, "microseconds": 800.0, "gain_microseconds": 700.0, "reason": "r",
            "evidence": "e", "remedy": "decompose it", "rewrite": "softmax-decompose", "operators": ["s"],
        }],
        "rewrites": {
            "applied": [{"rule": "softmax-decompose", "times": 2, "gain_ms": 0.7, "where": ["s1", "s2"]}],
            "refused": [{"rule": "concat-conv-split", "where": "c", "why": "It would cost time."}],
        },
        "accuracy": {
            "metric": "AP", "unit": "", "float": 41.0, "int8": 40.5, "drop": 0.5, "samples": 64,
            "interval": [-0.2, 1.1],
        },
        "sqnr_db": {"y": 30.5},
        "quantization": {"worst": [{
            "name": "t", "sqnr_db": 9.5, "scale": 0.1, "zero_point": -128, "cause": "Outlier channel.",
            "remedy": "Equalize.",
            "histogram": {"low": 0.0, "high": 40.0, "counts": [1000, 200, 3, 0, 1]},
        }]},
        "acceptance": [], "files": [],
    }  # fmt: skip
