from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from n6convert.graph.layout import Step, align, layout_of_steps
from n6convert.graph.query import shape_of
from n6convert.rewrites import RewriteConfig, rewrite

from .graphs import vit
from .helpers import NEW


@st.composite
def chains(draw: st.DrawFn) -> tuple[tuple[int, ...], list[Step]]:
    """A shape and a chain of transposes and of reshapes that cut or join axes."""
    shape = tuple(draw(st.lists(st.sampled_from([1, 2, 3, 4, 6]), min_size=1, max_size=4)))
    source, steps = shape, []
    for _ in range(draw(st.integers(1, 5))):
        if draw(st.booleans()):
            perm = tuple(draw(st.permutations(range(len(shape)))))
            shape = tuple(shape[p] for p in perm)
            steps.append(Step(shape, perm))
        else:
            shape = _regrouped(draw, shape)
            steps.append(Step(shape))
    return source, steps


def _regrouped(draw: st.DrawFn, shape: tuple[int, ...]) -> tuple[int, ...]:
    at = draw(st.integers(0, len(shape) - 1))
    if draw(st.booleans()) and len(shape) > 1 and at:
        return (*shape[: at - 1], shape[at - 1] * shape[at], *shape[at + 1 :])
    part = draw(st.sampled_from([d for d in (1, 2, 3) if shape[at] % d == 0]))
    return (*shape[:at], part, shape[at] // part, *shape[at + 1 :])


@given(chains())
@settings(max_examples=200, deadline=None)
def test_a_chain_equals_its_layout(chain: tuple[tuple[int, ...], list[Step]]) -> None:
    source, steps = chain
    data = np.arange(np.prod(source)).reshape(source)
    expected = data
    for step in steps:
        expected = expected.transpose(step.perm) if step.perm is not None else expected.reshape(step.shape)
    layout = layout_of_steps(source, steps)
    if layout is None:
        return
    found = data.reshape(layout.blocks).transpose(layout.perm).reshape(layout.target)
    np.testing.assert_array_equal(found, expected)
    assert all(b - a != 1 for a, b in zip(layout.perm, layout.perm[1:], strict=False))


def test_a_partly_repeated_axis_has_no_aligned_shape() -> None:
    assert align((4, 1), (4, 6), (4, 6)) == (4, 1)
    assert align((4, 1), (4, 6), (2, 2, 6)) == (2, 2, 1)
    assert align((4, 1), (4, 6), (24,)) is None


def test_no_axis_grows_beyond_the_compilers_limit() -> None:
    """Scores of 4 heads, 256 x 256 each, are 65,536 long when heads are counted apart."""
    model = vit(layers=1, rows=256, width=16, heads=4, hidden=16)
    result = rewrite(model, None, RewriteConfig(), target=NEW, threads=1)
    assert max(max(shape_of(v) or (0,)) for n in result.model.graph for v in n.outputs) < 1 << 16
