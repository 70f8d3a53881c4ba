"""The simplify stage: onnxsim in a child process, onnx-ir passes, repairs, and a proof that the numbers stayed.

onnxsim is native code that has crashed in every year of its history, so it runs outside this process and under a time
limit. When it crashes, hangs or changes the model's answers, its result is dropped, the reason appears among the
facts' ``warnings`` and through ``progress``, and the passes written in Python do the work alone. So they do where the
extra ``[onnxsim]`` is not installed, which is a remark and no warning.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from n6convert.errors import GraphError, RewriteError
from n6convert.runtime.child_process import finish, start_python
from n6convert.store.cache import Cache
from n6convert.types import Feeds, Progress

if TYPE_CHECKING:
    import onnx_ir as ir

    from n6convert.recipe.schema import SimplifyConfig

__all__ = ["ABSENT", "Onnxsim", "SimplifyResult", "require_operators", "simplify"]


#: results of folding larger than this stay computed: they would bloat the weights for nothing
_FOLD_BYTES = 16 << 20
_FOLD_ONNXSIM = "16MB"
#: fusions into operators that ST's compiler does not read, or reads worse: composites come from outside ONNX or are
#: expanded into float code ([#import-6]), and a Gemm with a computed bias crashes its import ([#import-2])
_SKIPPED = [
    "fuse_attention",
    "fuse_gelu",
    "fuse_gqa",
    "fuse_layer_norm",
    "fuse_lp_normalization",
    "fuse_matmul_add_bias_into_gemm",
    "fuse_matmul_add_bias_into_gemm_batched",
    "fuse_qkv",
    "fuse_rms_norm",
    "fuse_rope",
    "fuse_transpose_into_gemm",
]
_MAIN = "n6convert.rewrites.simplify"
#: the state where the extra is not there
ABSENT = "not installed"


@dataclass(frozen=True)
class SimplifyResult:
    """The simplified model and what happened: ``nodes`` before and after, ``onnxsim``, ``mended``, ``difference``
    (largest, relative to the outputs' range), ``warnings``."""

    model: ir.Model
    facts: dict[str, Any]


def simplify(
    model: ir.Model,
    feeds: Callable[[], Iterable[Feeds]],
    config: SimplifyConfig,
    progress: Progress | None = None,
    meanwhile: Callable[[], None] | None = None,
    onnxsim: Onnxsim | None = None,
) -> SimplifyResult:
    """Simplify a float model; the result has the same inputs, outputs and answers.

    Args:
        model: static shapes; not changed.
        feeds: called for each check, gives inputs on which answers are compared (a few are enough).
        config: time limit, tolerance, whether onnxsim runs.
        progress: called as ``progress(what, done, total)``.
        meanwhile: done while onnxsim works.
        onnxsim: begun before; used up.

    Raises:
        GraphError: the model is malformed or does not run.
        RewriteError: a pass changed the answers by more than the tolerance.
        GraphError: nothing is left to compute.
    """
    gate = _Gate(model, feeds, config.tolerance)
    warnings: list[str] = []
    say = progress or (lambda what, done, total: None)
    current, state = model.clone(), "switched off"
    if config.onnxsim:
        say("onnxsim", 0, None)
        current, state = _with_onnxsim(current, gate, onnxsim, config.time_limit, meanwhile)
        if state == ABSENT:
            say(f"onnxsim is {ABSENT} (pip install 'n6convert[onnxsim]'); the onnx-ir passes run alone", 0, None)
        elif state != "applied":
            warnings.append(f"onnxsim {state}; its result was not used, the onnx-ir passes ran alone")
            say(warnings[-1], 0, None)
    say("onnx-ir passes", 0, None)
    repaired = _passes(current)
    require_operators(current)
    difference = gate.check(current)
    facts = {
        "nodes": {"before": len(model.graph), "after": len(current.graph)},
        "onnxsim": state,
        "mended": repaired,
        "difference": difference,
        "warnings": warnings,
    }
    return SimplifyResult(current, facts)


def require_operators(model: ir.Model) -> None:
    """Raise GraphError for a graph in which nothing is computed: outputs are inputs or constants."""
    if all(node.op_type in ("Identity", "Constant") for node in model.graph):
        raise GraphError(
            "the graph simplifies to nothing: every output is an input or a constant",
            place=model.graph.name,
            limit="operators for the NPU",
            remedy="check what was exported: the network itself seems to be missing",
        )


class Onnxsim:
    """onnxsim in a process of its own, which imports it at once and then waits for the model.

    Attributes:
        source, result: files of the model before and after.
    """

    def __init__(self) -> None:
        self._ending = ExitStack()
        folder = self._ending.enter_context(Cache().scratch())
        self.source, self.result = folder / "in.onnx", folder / "out.onnx"
        self._child = start_python(_MAIN, [str(self.source), str(self.result)])

    @staticmethod
    def installed() -> bool:
        """Whether it is there at all."""
        return find_spec("onnxsim") is not None

    def run(self, limit: float, meanwhile: Callable[[], None] | None = None) -> str | None:
        """Simplify the model; None when that succeeded, else what went wrong.

        Args:
            limit: in seconds.
            meanwhile: done here while it works.
        """
        try:
            child = finish(self._child, limit, meanwhile)
        except subprocess.TimeoutExpired:
            return f"was stopped after {limit:g} s"
        if child.returncode < 0:
            return f"crashed ({signal.Signals(-child.returncode).name})"
        if child.returncode > 0 or not self.result.is_file():
            lines = child.stderr.strip().splitlines()
            return f"failed ({lines[-1][:200] if lines else f'exit code {child.returncode}'})"
        return None

    def close(self) -> None:
        """End the process, and remove its files."""
        with self._ending, self._child:
            self._child.kill()


class _Gate:
    """Answers of the original model, and the comparison against them."""

    def __init__(self, model: ir.Model, feeds: Callable[[], Iterable[Feeds]], tolerance: float) -> None:
        from n6convert.runtime.comparison import least_sizes
        from n6convert.runtime.session import run_model

        self._least = least_sizes(model)
        self._interface = _interface(model)
        self._samples = list(feeds())
        if not self._samples:
            raise GraphError("nothing to compare answers on", remedy="give at least one sample")
        self._expected = [run_model(model, feed) for feed in self._samples]
        self._tolerance = tolerance

    def check(self, model: ir.Model) -> float:
        """Largest relative difference. Raises RewriteError above the tolerance or when the interface changed."""
        from n6convert.runtime.comparison import relative_differences
        from n6convert.runtime.session import run_model

        if _interface(model) != self._interface:
            raise RewriteError("simplifying changed the inputs or outputs", found=_interface(model))
        worst = 0.0
        for feed, expected in zip(self._samples, self._expected, strict=True):
            for name, gap in relative_differences(expected, run_model(model, feed), self._least).items():
                worst = max(worst, gap)
                if gap > self._tolerance:
                    text = f"{gap:.3g} of the range"
                    raise RewriteError("simplifying changed an output", place=name, found=text, limit=self._tolerance)
        return worst


def _interface(model: ir.Model) -> tuple[list[tuple[str, str]], list[str]]:
    inputs = [v for v in model.graph.inputs if v.name not in model.graph.initializers]
    return [(v.name or "", str(v.shape)) for v in inputs], [v.name or "" for v in model.graph.outputs]


def _with_onnxsim(
    model: ir.Model, gate: _Gate, begun: Onnxsim | None, limit: float, meanwhile: Callable[[], None] | None
) -> tuple[ir.Model, str]:
    """(onnxsim's result, "applied"), or (the model itself, why not)."""
    import onnx_ir as ir

    from n6convert.graph.io import save

    if not Onnxsim.installed():
        return model, ABSENT
    with closing(begun or Onnxsim()) as onnxsim:
        save(model, onnxsim.source)
        problem = onnxsim.run(limit, meanwhile)
        if problem is not None:
            return model, problem
        try:
            simplified = ir.load(onnxsim.result)
            ir.external_data.load_to_model(simplified)
            gate.check(simplified)
            foreign = _domains(simplified) - _domains(model)
            if foreign:
                return model, f"used operators of {', '.join(sorted(foreign))}"
        except (RewriteError, GraphError) as error:
            return model, f"gave another function ({error.problem}: {error.found})"
        except Exception as error:  # a damaged result file
            return model, f"wrote an unreadable file ({type(error).__name__})"
    return simplified, "applied"


def _domains(model: ir.Model) -> set[str]:
    return {node.domain for node in model.graph if node.domain}


def _passes(model: ir.Model) -> list[str]:
    """The passes written in Python, in place; returns what :func:`normalize` repaired."""
    from onnx_ir.passes import common
    from onnxscript.rewriter import RewriteRuleSet
    from onnxscript.rewriter.rules.common import fuse_pad_into_conv_rule

    from n6convert.graph.canonical import infer_shapes
    from n6convert.graph.folding import fold_constants
    from n6convert.linter.normalize import normalize

    repaired = normalize(model)
    _drop_stale_shapes(model)
    infer_shapes(model)
    fold_constants(model, onnx_shape_inference=True, input_size_limit=_FOLD_BYTES, output_size_limit=_FOLD_BYTES)
    RewriteRuleSet([fuse_pad_into_conv_rule]).apply_to_model(model)
    for step in (
        common.IdentityEliminationPass(),
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.DeduplicateInitializersPass(size_limit=1 << 16),
        common.RemoveUnusedOpsetsPass(),
        common.TopologicalSortPass(),
        common.NameFixPass(),
    ):
        step(model)
    _end_branches_in_own_values(model)
    repaired += normalize(model)
    infer_shapes(model)
    return sorted(set(repaired))


def _drop_stale_shapes(model: ir.Model) -> None:
    """Forget what the exporter wrote about inner tensors: it may contradict the inputs ([#import-4])."""
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            if value not in outputs:
                value.shape = None


def _end_branches_in_own_values(model: ir.Model) -> None:
    """Give an Identity to branches that return what is made outside them: ONNX wants one, and the passes drop it."""
    import onnx_ir as ir

    for graph in model.graphs():
        for index, value in enumerate(graph.outputs if graph is not model.graph else ()):
            made = value.producer()
            own = made.graph is graph if made is not None else value in (*graph.inputs, *graph.initializers.values())
            if not own:
                node = ir.node("Identity", [value])
                graph.append(node)
                graph.outputs[index] = node.outputs[0]


def _child(source: str, result: str) -> None:
    for unused in ("torch", "sympy"):  # onnxsim loads them for what is not used here
        sys.modules.setdefault(unused, None)  # type: ignore[arg-type]
    import onnx
    import onnxsim

    sys.stdin.readline()  # the model is there
    model, _ = onnxsim.simplify(source, skipped_optimizers=_SKIPPED, tensor_size_threshold=_FOLD_ONNXSIM)
    onnx.save(model, result, save_as_external_data=True, location=Path(result).name + ".data", size_threshold=1024)


if __name__ == "__main__":
    _child(sys.argv[1], sys.argv[2])
