"""Running one rule (and the housekeeping it relies on) on a small graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from n6convert.graph.query import shape_of
from n6convert.npu.targets import load_target
from n6convert.rewrites import Context, RewriteConfig, RewriteResult, all_rules, rewrite
from n6convert.rewrites.engine import run_rules
from n6convert.rewrites.proof import Proof
from n6convert.rewrites.trial import Run
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


def alone(model: ir.Model, rule: str, target: str = OLD) -> Run:
    """Run one rule without any other; the outputs stay the same within 1e-5, and a second run finds nothing to do."""
    rules = [r for r in all_rules() if r.name == rule]
    context = Context(load_target(target).version)
    run = run_rules(model, rules, context, Proof(model, lambda: [sample(model)], threads=1), 1e-5)
    again = run_rules(run.model, rules, context, Proof(run.model, lambda: [sample(model)], threads=1), 1e-5)
    assert not again.applied
    others = sample(model, seed=1)
    before, after = run_model(model, others, threads=1), run_model(run.model, others, threads=1)
    assert before.keys() == after.keys()
    for name, array in before.items():
        assert array.shape == after[name].shape
        assert max_relative_difference(array, after[name]) < 1e-5
    held = {v.name: v.shape for v in model.graph.outputs}
    assert all(v.shape == held[v.name] for v in run.model.graph.outputs)
    return run


def stays(model: ir.Model, rule: str, target: str = OLD) -> str:
    """Assert that a rule leaves a graph as it is; the reason that it gives, empty where it sees no place."""
    run = alone(model, rule, target)
    assert not run.applied and ops(run.model) == ops(model)
    return "; ".join(r.reason for r in run.refused.values())


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
