"""Sets of operators: named once, made of operators that there are, and what they say holds."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx.defs
import pytest
from onnx_text import parsed

from n6convert.graph import operators
from n6convert.runtime.session import run_model

ROOT = Path(__file__).parents[2] / "n6convert"
KNOWN = {schema.name for schema in onnx.defs.get_all_schemas_with_history()}
SETS = {name: getattr(operators, name) for name in operators.__all__}
#: those that no ONNX schema has: onnxruntime's own
FOREIGN = {"DynamicQuantizeMatMul"}
BODIES = {
    "Reshape": "y = Reshape(x, s)", "Flatten": "y = Flatten<axis=2>(x)", "Squeeze": "y = Squeeze(x, o)",
    "Unsqueeze": "y = Unsqueeze(x, o)", "Identity": "y = Identity(x)", "Dropout": "y = Dropout(x)",
    "Transpose": "y = Transpose<perm=[0,3,1,2]>(x)", "Slice": "y = Slice(x, o, e, o)",
    "Split": "y, z = Split<axis=2>(x)",
    "Concat": "y = Concat<axis=1>(x, x)", "DepthToSpace": "y = DepthToSpace<blocksize=2>(t)",
    "SpaceToDepth": "y = SpaceToDepth<blocksize=2>(x)", "Expand": "y = Expand(x, w)",
    "MaxPool": "y = MaxPool<kernel_shape=[2,2]>(x)",
}  # fmt: skip


def _literals(path: Path) -> Iterator[tuple[str, frozenset[str]]]:
    """Sets of two or more operators that a module writes out at its top."""
    for node in ast.parse(path.read_text("utf-8")).body:
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Call) and len(value.args) == 1:
            value = value.args[0]
        if isinstance(value, ast.Set | ast.Tuple):
            words = [e.value for e in value.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            if len(words) == len(value.elts) > 1 and set(words) <= KNOWN:
                yield path.relative_to(ROOT).as_posix(), frozenset(words)


def test_no_set_of_operators_is_written_out_twice() -> None:
    places = defaultdict(list)
    for path in sorted(ROOT.rglob("*.py")):
        for where, words in _literals(path):
            places[words].append(where)
    shared = {frozenset(found) for found in SETS.values()}
    again = {tuple(sorted(words)): where for words, where in places.items() if len(where) > 1}
    assert again == {}, "put it into n6convert/graph/operators.py"
    assert {where[0] for words, where in places.items() if words in shared} == {"graph/operators.py"}


@pytest.mark.parametrize("name", SETS)
def test_they_hold_operators_that_there_are(name: str) -> None:
    assert SETS[name] - KNOWN <= FOREIGN and len(SETS[name]) > 1


@pytest.mark.parametrize("op", sorted(operators.SELECTIONS | operators.VIEWS))
def test_results_are_values_of_the_input(op: str) -> None:
    x = np.random.default_rng(0).permutation(16).astype(np.float32).reshape(1, 1, 4, 4)
    integers = {"s": [1, 4, 1, 4], "o": [1], "e": [3], "w": [2, 1, 4, 4]}
    if op == "Slice":
        integers["o"] = [2]
        integers["e"] = [4]
    constants = {n: np.array(v, np.int64) for n, v in integers.items()} | {"t": x.reshape(1, 4, 2, 2)}
    used = {
        n: v
        for n, v in constants.items()
        if n in BODIES[op].replace("(", " ").replace(")", " ").replace(",", " ").split()
    }
    y = run_model(parsed(BODIES[op], "float[1,1,4,4] x", "float[] y", **used), {"x": x})["y"]
    assert set(y.ravel()) <= set(x.ravel())
    if op in operators.VIEWS:
        np.testing.assert_array_equal(y.ravel(), x.ravel())


def test_how_they_lie_in_each_other() -> None:
    assert operators.RESHAPES < operators.VIEWS and operators.RESHAPES < operators.MOVES < operators.SELECTIONS
    assert operators.LAYERS < operators.PRODUCTS and operators.SUMS_AND_PRODUCTS < operators.ARITHMETIC
    assert not operators.UNARY & (operators.SELECTIONS | operators.PRODUCTS | operators.ARITHMETIC)
