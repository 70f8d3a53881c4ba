"""Simplify: same answers, fewer nodes, equal bytes; onnxsim's failures are survived and said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from n6convert.errors import GraphError, RewriteError
from n6convert.recipe.schema import SimplifyConfig
from n6convert.rewrites import simplify as module
from n6convert.rewrites.simplify import Onnxsim, simplify
from n6convert.runtime.session import run_model

BODY = """<float[1] one = {1.0}, float[4,4,1,1] w = {%s}> {
  i = Identity (x)
  sh = Shape (i)
  r = Reshape (i, sh)
  k = Add (one, one)
  a = Mul (r, k)
  b = Mul (r, k)
  s = Add (a, b)
  y = Conv (s, w)
}""".replace("%s", ", ".join(str(i / 16) for i in range(16)))


def model() -> ir.Model:
    return ir.from_onnx_text(
        f'<ir_version: 10, opset_import: ["" : 17]> g (float[1,4,8,8] x) => (float[1,4,8,8] y) {BODY}'
    )


def feeds() -> list[dict[str, np.ndarray]]:
    return [{"x": np.random.default_rng(0).normal(size=(1, 4, 8, 8)).astype(np.float32)}]


@pytest.mark.parametrize("body", ["y = Identity (x)", "t = Identity (x)\n y = Identity (t)", "y = Expand (one, sizes)"])
def test_a_graph_without_a_network_is_refused(body: str) -> None:
    head = '<ir_version: 10, opset_import: ["" : 17]> g (float[1,4,8,8] x) => (float[1,4,8,8] y)'
    text = f"{head} <float[1] one = {{1.0}}, int64[4] sizes = {{1, 4, 8, 8}}> {{ {body} }}"
    with pytest.raises(GraphError, match="simplifies to nothing"):
        simplify(ir.from_onnx_text(text), feeds, SimplifyConfig(onnxsim=False))


@pytest.mark.parametrize("onnxsim", [True, False])
def test_same_function_in_fewer_nodes(onnxsim: bool) -> None:
    original = model()
    before = ir.to_proto(original).SerializeToString()
    result = simplify(original, feeds, SimplifyConfig(onnxsim=onnxsim))
    assert ir.to_proto(original).SerializeToString() == before
    kinds = [node.op_type for node in result.model.graph]
    assert "Identity" not in kinds and "Shape" not in kinds and len(kinds) <= 4
    np.testing.assert_allclose(
        run_model(result.model, feeds()[0])["y"], run_model(original, feeds()[0])["y"], rtol=1e-5, atol=1e-6
    )
    assert result.facts["onnxsim"] == ("applied" if onnxsim else "switched off")
    assert result.facts["warnings"] == [] and result.model.ir_version == 8
    assert all(v.shape is not None for node in result.model.graph for v in node.outputs)


def test_a_branch_that_returns_a_value_from_outside_still_loads() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]> g (float[1,4,8,8] x, bool up) => (float[1,4,8,8] y) {
        s = Sigmoid (x)
        y = If (up) <then_branch = a () => (float[1,4,8,8] r) { r = Neg (s) },
                     else_branch = b () => (float[1,4,8,8] t) { t = Identity (s) }>
    }"""
    original = ir.from_onnx_text(text)
    given = [feed | {"up": np.array(up)} for feed in feeds() for up in (True, False)]
    found = simplify(original, lambda: given, SimplifyConfig(onnxsim=False)).model
    for feed in given:
        np.testing.assert_array_equal(run_model(found, feed)["y"], run_model(original, feed)["y"])


def test_bytes_are_equal_each_time() -> None:
    one, two = (ir.to_proto(simplify(model(), feeds, SimplifyConfig()).model) for _ in range(2))
    assert one.SerializeToString(deterministic=True) == two.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed (SIGSEGV)"),
        ("import time; time.sleep(60)", "was stopped after"),
        ("raise ValueError('no')", "failed (ValueError: no)"),
        ("", "failed (exit code 0)"),
        ("import sys, pathlib; pathlib.Path(sys.argv[2]).write_bytes(b'x')", "unreadable"),
    ],
)
def test_failures_of_onnxsim_are_survived_and_said(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_onnxsim.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_MAIN", "broken_onnxsim")
    heard: list[str] = []
    limit = 2.0 if "sleep" in code else 60.0
    result = simplify(model(), feeds, SimplifyConfig(time_limit=limit), lambda what, done, total: heard.append(what))
    assert said in result.facts["onnxsim"]
    assert len(result.facts["warnings"]) == 1 and result.facts["warnings"][0] in heard
    assert len(result.model.graph) <= 4


def test_without_onnxsim_the_other_passes_work_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    heard: list[str] = []
    result = simplify(model(), feeds, SimplifyConfig(), lambda what, done, total: heard.append(what))
    assert result.facts["onnxsim"] == "not installed" and result.facts["warnings"] == []
    assert any("n6convert[onnxsim]" in what for what in heard)
    alone = simplify(model(), feeds, SimplifyConfig(onnxsim=False)).model
    assert ir.to_proto(result.model).SerializeToString() == ir.to_proto(alone).SerializeToString()


def test_padding_in_front_of_a_convolution_is_its_own_also_without_onnxsim() -> None:
    text = """<ir_version: 8, opset_import: ["": 17]>
    g (float[1,1,4,4] x) => (float[1,1,2,2] y)
    <float[1,1,3,3] w = {1,2,3,4,5,6,7,8,9}, int64[8] pads = {0,0,0,0,0,0,1,1}>
    { p = Pad(x, pads)  y = Conv<strides=[2,2]>(p, w) }"""
    image = [{"x": np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4)}]
    result = simplify(ir.from_onnx_text(text), lambda: image, SimplifyConfig(onnxsim=False))
    (conv,) = result.model.graph
    assert conv.op_type == "Conv" and list(conv.attributes["pads"].as_ints()) == [0, 0, 1, 1]


def test_another_function_from_onnxsim_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    child = """
import sys, onnx
from onnx import numpy_helper
m = onnx.load(sys.argv[1])
for i, t in enumerate(m.graph.initializer):
    if t.name == "w":
        m.graph.initializer[i].CopyFrom(numpy_helper.from_array(numpy_helper.to_array(t) * 1.01, "w"))
onnx.save(m, sys.argv[2])
"""
    (tmp_path / "wrong_onnxsim.py").write_text(child)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(module, "_MAIN", "wrong_onnxsim")
    result = simplify(model(), feeds, SimplifyConfig())
    assert "another function" in result.facts["onnxsim"]
    np.testing.assert_allclose(
        run_model(result.model, feeds()[0])["y"], run_model(model(), feeds()[0])["y"], rtol=1e-5, atol=1e-6
    )


def test_onnxsim_may_be_begun_before_the_model_is_there() -> None:
    pytest.importorskip("onnxsim")
    begun = Onnxsim()
    assert simplify(model(), feeds, SimplifyConfig(), onnxsim=begun).facts["onnxsim"] == "applied"
    assert begun._child.returncode == 0 and not begun.source.parent.exists()
    unused = Onnxsim()
    unused.close()
    assert unused._child.returncode != 0 and not unused.source.parent.exists()


def test_onnxsim_does_not_load_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes longer than simplifying, for functions that are not used."""
    pytest.importorskip("onnxsim")
    loaded = tmp_path / "loaded"
    (tmp_path / "torch.py").write_text(f"open({str(loaded)!r}, 'w').close()")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert simplify(model(), feeds, SimplifyConfig()).facts["onnxsim"] == "applied"
    assert not loaded.exists()


def test_a_pass_that_changes_numbers_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    from onnx_ir.passes import common

    class Wrong(common.IdentityEliminationPass):
        def call(self, model: ir.Model) -> ir.passes.PassResult:
            value = model.graph.initializers["w"]
            value.const_value = ir.tensor(value.const_value.numpy() * 2, name="w")  # type: ignore[union-attr]
            return ir.passes.PassResult(model, True)

    monkeypatch.setattr(common, "IdentityEliminationPass", Wrong)
    with pytest.raises(RewriteError, match="changed an output"):
        simplify(model(), feeds, SimplifyConfig(onnxsim=False))


def test_a_model_that_does_not_run_is_named() -> None:
    broken = ir.from_onnx_text(
        '<ir_version: 8, opset_import: ["" : 17]> g (float[1,4] x) => (float[1,4] y) '
        "<float[5] w = {1,1,1,1,1}> { y = Add (x, w) }"
    )
    with pytest.raises(GraphError):
        simplify(broken, lambda: [{"x": np.zeros((1, 4), np.float32)}], SimplifyConfig())
    with pytest.raises(GraphError, match="nothing to compare"):
        simplify(model(), lambda: [], SimplifyConfig())


def test_real_networks_keep_their_answers(data_dir: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("mobilenet_v2_1.0_224_float.onnx", "movenet_lightning_heatmaps_192_float.onnx"):
        original = ir.load(data_dir / "weights" / name)
        inputs = {v.name: rng.random(tuple(v.shape), np.float32) for v in original.graph.inputs}  # type: ignore[arg-type]
        result = simplify(original, lambda inputs=inputs: [inputs], SimplifyConfig())
        assert result.facts["difference"] < 1e-5
        assert result.facts["nodes"]["after"] < result.facts["nodes"]["before"]


def test_attention_is_left_in_plain_operators() -> None:
    body = """<float[8,8] w = {%s}, float[1,1,1] scale = {0.35}> {
      q = MatMul (x, w) k = MatMul (x, w) v = MatMul (x, w)
      t = Transpose <perm = [0,2,1]> (k) s = MatMul (q, t) d = Mul (s, scale)
      p = Softmax <axis = -1> (d) c = MatMul (p, v) o = MatMul (c, w) y = Add (o, x) }"""
    text = body.replace("%s", ", ".join(str((i % 7) / 9) for i in range(64)))
    original = ir.from_onnx_text(
        f'<ir_version: 8, opset_import: ["" : 17]> g (float[1,6,8] x) => (float[1,6,8] y) {text}'
    )
    feed = {"x": np.random.default_rng(0).normal(size=(1, 6, 8)).astype(np.float32)}
    result = simplify(original, lambda: [feed], SimplifyConfig())
    assert result.facts["onnxsim"] == "applied"
    assert {node.domain for node in result.model.graph} == {""}
    assert not {"Attention", "Gemm"} & {node.op_type for node in result.model.graph}
