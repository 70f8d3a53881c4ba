"""Rounding the weights of one matrix so that their errors cancel on the inputs it gets.

For one output the squared error is ``d H d^T`` with ``d`` the rounding errors and ``H`` the second moments of the
inputs. With ``H = R R^T``, ``R`` upper triangular, that is ``|d R|^2``, and column ``j`` of ``d R`` knows only the
first ``j`` weights: these are rounded one after the other, each so that its column becomes as small as it can (Babai's
nearest plane; the same codes as Optimal Brain Quantization in GPTQ's order, without the inverse of ``H``). Then each
weight in turn moves to the code that suits all others best, until a turn brings next to nothing. An output for which
that is not better than nearest rounding keeps nearest rounding. Nothing here draws random numbers, and all of it is
float64: one code that falls the other way moves all later ones, and in float32 the order of sums would decide some.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from n6convert.quantization.grid.affine import CODE_MAX
from n6convert.quantization.stable import SHARE
from n6convert.quantization.time_budget import TimeBudget

__all__ = ["DAMPING", "SMALL", "round_groups", "round_rows"]

#: inputs along the first axis, outputs along the second: one weight of all outputs lies together
Columns = NDArray[np.float64]
#: the least code and the largest
Limits = tuple[int, int]
#: noise on every input, relative to the mean one's energy, where nothing says that more is better
DAMPING = 0.01
#: inputs of a group that is rounded together with others
SMALL = 64
_BLOCK = 64
#: turns of settling at most, and the share of the error that a turn must take away for another one to follow
_TURNS, _ENOUGH = 8, 0.02
#: multiplications of one product of matrices at most; between products the budget is looked at
_PRODUCT = 1 << 33


def round_rows(
    rows: NDArray[np.float32],
    scales: NDArray[np.float32],
    moments: NDArray[np.float64],
    budget: TimeBudget | None = None,
    limits: Limits = (-CODE_MAX, CODE_MAX),
    damping: float = DAMPING,
    settles: bool = True,
) -> NDArray[np.int8]:
    """Integer weights ``[outputs, inputs]`` for one scale per output and the inputs' second moments.

    Args:
        limits: the least code and the limits.
        damping: noise on every input, relative to the mean one's energy.
        settles: whether weights move once more after all were rounded, which takes as long again.

    Raises:
        BudgetExceeded: the budget ended.
    """
    budget = budget or TimeBudget()
    target = rows.astype(np.float64) / scales[:, None]
    codes = _clip(target, limits).astype(np.int8)
    order = np.argsort(-np.diag(moments), kind="stable")
    exact = _damped(moments[np.ix_(order, order)], damping)
    factor = _factor(exact)
    if factor is None:
        return codes
    for part in budget.watch(_chunks(*rows.shape)):
        columns = np.ascontiguousarray(target[part][:, order].T)
        chosen = np.empty_like(codes[part])
        chosen[:, order] = _rounded(columns, factor, exact, budget, limits, _TURNS if settles else 0).T
        codes[part] = chosen
    return codes


def round_groups(
    rows: NDArray[np.float32],
    scales: NDArray[np.float32],
    moments: NDArray[np.float64],
    budget: TimeBudget | None = None,
    limits: Limits = (-CODE_MAX, CODE_MAX),
    damping: float = DAMPING,
) -> NDArray[np.int8] | None:
    """:func:`round_rows` for many small groups at once; None where the moments of any allow no order.

    Args:
        rows: ``[groups * outputs, inputs]``.
        scales: of the rows.
        moments: ``[groups, inputs, inputs]``.
        budget: looked at between turns.
        limits: as for :func:`round_rows`.
        damping: as for :func:`round_rows`.

    Raises:
        BudgetExceeded: the budget ended.
    """
    budget = budget or TimeBudget()
    groups, inputs = len(moments), rows.shape[1]
    exact = np.stack([_damped(m.copy(), damping) for m in moments])
    order = np.argsort(-np.diagonal(exact, axis1=1, axis2=2), axis=1, kind="stable")
    exact = np.take_along_axis(np.take_along_axis(exact, order[:, :, None], 1), order[:, None, :], 2)
    try:
        lower = np.asarray(np.linalg.cholesky(exact[:, ::-1, ::-1]), np.float64)
    except np.linalg.LinAlgError:
        return None
    target = (rows.astype(np.float64) / scales[:, None]).reshape(groups, -1, inputs)
    columns = np.take_along_axis(target, order[:, None, :], 2).transpose(2, 0, 1)  # [inputs, groups, outputs]
    chosen = _chosen(columns, lower[:, ::-1, ::-1], exact, budget, limits).transpose(1, 2, 0)
    codes = np.empty(target.shape, np.int8)
    np.put_along_axis(codes, order[:, None, :], chosen.astype(np.int8), 2)
    return codes.reshape(rows.shape)


def _chosen(target: Columns, factor: Columns, moments: Columns, budget: TimeBudget, limits: Limits) -> Columns:
    """:func:`_rounded` with groups along the second axis, and the first of the matrices."""
    codes, errors = np.empty_like(target), np.empty_like(target)
    for i in range(len(target)):
        pull = np.einsum("gj,jgo->go", factor[:, :i, i], errors[:i])
        codes[i] = _clip(target[i] + pull / factor[:, i, i, None], limits)
        errors[i] = target[i] - codes[i]

    def pulled(errors: Columns) -> Columns:
        return np.asarray(np.einsum("gij,jgo->igo", moments, errors))

    pull, nearest = pulled(target - codes), _clip(target, limits)
    cost, active = _group_cost(target - codes, pull), np.ones((target.shape[1], 1))
    for _ in budget.watch(range(_TURNS)):
        for i in range(len(target)):
            step = (_clip(codes[i] + np.rint(pull[i] / moments[:, i, i, None]), limits) - codes[i]) * active
            codes[i] += step
            pull -= moments[:, :, i].T[:, :, None] * step
        before, cost = cost, _group_cost(target - codes, pull)
        active = active * (cost.sum(axis=1, keepdims=True) <= (1 - _ENOUGH) * before.sum(axis=1, keepdims=True))
        if not active.any():
            break
    missed = target - nearest
    return np.where(cost < (1 - SHARE) * _group_cost(missed, pulled(missed)), codes, nearest)


def _group_cost(errors: Columns, pull: Columns) -> Columns:
    return np.asarray(np.einsum("igo,igo->go", errors, pull))


def _damped(moments: NDArray[np.float64], damping: float) -> NDArray[np.float64]:
    """The moments, whose mean is made 1 in place, and a little noise on every input."""
    moments /= max(float(np.trace(moments)) / len(moments), 1e-30)
    moments[np.diag_indices_from(moments)] += damping
    return moments


def _factor(moments: NDArray[np.float64]) -> Columns | None:
    """The upper triangular ``R`` with ``R R^T`` the moments; None where rounding errors leave none."""
    try:
        lower = np.asarray(np.linalg.cholesky(moments[::-1, ::-1]), np.float64)
    except np.linalg.LinAlgError:
        return None
    return lower[::-1, ::-1]


def _chunks(outputs: int, inputs: int) -> Iterator[slice]:
    """Outputs in portions; each is rounded by itself."""
    step = max(_PRODUCT // inputs**2, 32)
    return (slice(i, i + step) for i in range(0, outputs, step))


def _rounded(
    target: Columns, factor: Columns, moments: Columns, budget: TimeBudget, limits: Limits, turns: int
) -> Columns:
    nearest = _clip(target, limits)
    codes, cost = _settle(target, _sweep(target, factor, limits), moments, budget, limits, turns)
    return np.where(cost < (1 - SHARE) * _cost(target - nearest, moments @ (target - nearest)), codes, nearest)


def _sweep(target: Columns, factor: Columns, limits: Limits) -> Columns:
    """Round weight by weight; what earlier blocks leave to a block comes at once, what its own do one by one."""
    codes, errors = np.empty_like(target), np.empty_like(target)
    for start in range(0, len(target), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(target)))
        inner, steps = factor[block, block].T, np.diag(factor)[block, None]
        inner = np.ascontiguousarray(inner / steps)
        wanted = target[block] + factor[:start, block].T @ errors[:start] / steps
        for i, own in enumerate(inner):
            near = wanted[i] + own[:i] @ errors[start : start + i]
            codes[start + i] = _clip(near, limits)
            errors[start + i] = target[start + i] - codes[start + i]
    return codes


def _settle(
    target: Columns, codes: Columns, moments: Columns, budget: TimeBudget, limits: Limits, turns: int
) -> tuple[Columns, NDArray[np.float64]]:
    """Coordinate descent over the codes, and each output's error after it; no turn makes an output worse."""
    pull = moments @ (target - codes)
    cost = _cost(target - codes, pull)
    for _ in budget.watch(range(turns)):
        _turn(codes, pull, moments, limits)
        before, cost = cost, _cost(target - codes, pull)
        if cost.sum() > (1 - _ENOUGH) * before.sum():
            break
    return codes, cost


def _turn(codes: Columns, pull: Columns, moments: Columns, limits: Limits) -> None:
    """Move each weight in turn, in place; ``pull``, the moments times the errors, is kept right."""
    for start in range(0, len(codes), _BLOCK):
        block = slice(start, min(start + _BLOCK, len(codes)))
        inner, moved = moments[block, block], np.zeros_like(codes[block])
        for i, own in enumerate(inner):
            near, code = pull[start + i] - own[:i] @ moved[:i], codes[start + i]
            step = np.rint(near / own[i])
            if step.any():
                moved[i] = np.clip(code + step, *limits) - code
                code += moved[i]
        pull -= moments[:, block] @ moved


def _clip(values: Columns, limits: Limits) -> Columns:
    return np.clip(np.rint(values), *limits)


def _cost(errors: Columns, pull: Columns) -> NDArray[np.float64]:
    cost: NDArray[np.float64] = np.einsum("ij,ij->j", errors, pull, dtype=np.float64)
    return cost
