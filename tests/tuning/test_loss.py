"""What training makes smaller."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from n6convert.tuning.loss import are_probabilities, decibels, output_loss  # noqa: E402


def loss(values: list[list[float]], exact: list[list[float]], tokens: list[bool] | None = None) -> tuple[float, list]:
    """The loss of one output, and its gradient."""
    made = torch.tensor(values, requires_grad=True)
    rows = None if tokens is None else np.array([tokens])
    found = output_loss({"y": made[None]}, {"y": np.array([exact], np.float32)}, {"y": 0.1}, rows)["y"]
    found.backward()
    return float(found.detach()), made.grad.tolist()


def test_probabilities_pull_also_where_another_class_has_won() -> None:
    value, grad = loss([[0.01, 0.98, 0.01]], [[0.98, 0.01, 0.01]])
    by_hand = 0.98 * np.log(0.98 / 0.01) + 0.01 * np.log(0.01 / 0.98)
    assert value == pytest.approx(by_hand, rel=1e-4)
    assert grad[0][0] < -10 < grad[0][1]
    assert loss([[0.98, 0.01, 0.01]], [[0.98, 0.01, 0.01]])[0] == pytest.approx(0, abs=1e-6)


def test_codes_of_probabilities_need_not_add_up_to_one() -> None:
    assert loss([[0.5, 0.25]], [[2 / 3, 1 / 3]])[0] == pytest.approx(0, abs=1e-6)


def test_other_outputs_are_counted_in_their_spread() -> None:
    value, grad = loss([[1.2, -0.5]], [[1.0, -0.5]])
    assert value == pytest.approx(np.log(5) / 2, rel=1e-4)
    far = loss([[11.0, -0.5]], [[1.0, -0.5]])[1][0][0]
    assert grad[0][0] > 0 and far > 0.05, "what is far off still pulls"


def test_padding_does_not_count() -> None:
    rows = [[1.0, 2.0], [3.0, 4.0], [9.0, 9.0]]
    value, grad = loss(rows, [[1.0, 2.0], [3.0, 4.1], [0.0, 0.0]], [True, True, False])
    assert value == pytest.approx(np.log1p(1) / 4, rel=1e-3) and grad[2] == [0.0, 0.0]


def test_padding_of_a_map_does_not_count() -> None:
    exact, made = np.zeros((1, 1, 3, 2, 2), np.float32), torch.zeros((1, 1, 3, 2, 2))
    made[..., 1, 0] = 9.0
    made[..., 0, 1] = 0.1
    tokens = np.array([[True, True, False, True]])
    found = float(output_loss({"y": made}, {"y": exact}, {"y": 0.1}, tokens)["y"])
    assert found == pytest.approx(np.log(2) / 3, rel=1e-4)


def test_what_is_taken_for_probabilities() -> None:
    assert are_probabilities(torch.tensor([[0.2, 0.8], [1.0, 0.0]]))
    assert not are_probabilities(torch.tensor([[1.2, -0.2]]))
    assert not are_probabilities(torch.tensor([[0.5, 0.4]]))
    assert not are_probabilities(torch.tensor([[1.0], [1.0]])), "a score of its own"


def test_gradients_keep_their_size_while_losses_rise() -> None:
    found = []
    for size in (1e-3, 1e-1, 10.0):
        weight = torch.tensor(size, requires_grad=True)
        decibels({"y": weight.square(), "none": torch.zeros(())}).backward()
        found.append(float(weight.grad * size))
    assert found == pytest.approx([2.0, 2.0, 2.0], rel=1e-5)
