"""Running one rule (and the housekeeping it relies on) on a small graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import shape_of
from n6convert.rewrites import RewriteConfig, RewriteResult, rewrite
from n6convert.runtime.comparison import max_relative_difference
from n6convert.runtime.session import run_model

OLD, NEW = "stm32n6570-dk@2.1", "stm32n6570-dk@4.0"


def apply(model: ir.Model, *rules: str, target: str = OLD, **config: Any) -> RewriteResult:
    """Run named rules without weighing them by time, and prove the result on samples of its own."""
    feeds = sample(model)
    chosen = RewriteConfig(rules=list(rules), **config)
    result = rewrite(model, lambda: [feeds], chosen, target=target, estimator=lambda _: 1.0, threads=1)
    others = sample(model, seed=1)
    before, after = run_model(model, others, threads=1), run_model(result.model, others, threads=1)
    assert before.keys() == after.keys()
    if not result.approximate:
        assert max(max_relative_difference(before[k], after[k]) for k in before) < 1e-4
    assert [v.name for v in result.model.graph.inputs] == [v.name for v in model.graph.inputs]
    return result


def ops(model: ir.Model) -> Counter[str]:
    """How often each operator occurs."""
    return Counter(node.op_type for node in model.graph)


def reasons(result: RewriteResult, rule: str) -> str:
    """Why a rule was refused, all places."""
    return "; ".join(r.reason for r in result.refused if r.rule == rule)


def sample(model: ir.Model, seed: int = 0) -> Mapping[str, np.ndarray[Any, Any]]:
    """Seeded inputs."""
    random = np.random.default_rng(seed)
    return {str(v.name): random.standard_normal(shape_of(v)).astype(np.float32) for v in model.graph.inputs}


def software(model: ir.Model, target: str) -> Counter[str]:
    """Operators that would run on the CPU, by kind, with every tensor taken as int8."""
    from n6convert.npu import estimate

    found = estimate(model, target, assume_quantized=True).placement
    return Counter(found.sw_ops) + Counter(found.hybrid_ops)
