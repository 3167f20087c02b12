"""Learning rates with literal values, and the steps that leave something."""

from __future__ import annotations

import pytest

from optimer.training.schedule import learning_rate, saves_state, trajectory_steps


def rates(n_steps: int, warmup_ratio: float) -> list[float]:
    return [learning_rate(step, n_steps, 1.0, 0.01, warmup_ratio) for step in range(n_steps)]


def test_cosine_from_the_peak_to_one_percent() -> None:
    # 0.01 + 0.99 (1 + cos(pi k / 4)) / 2 for k = 0 … 4
    expected = [1.0, 0.8550178566873411, 0.505, 0.15498214331265895, 0.01]
    assert rates(5, 0.0) == pytest.approx(expected, abs=1e-12)


def test_warmup_is_linear_and_never_zero() -> None:
    # w = round(0.2 * 10) = 2: 1/3, 2/3, then the peak
    found = rates(10, 0.2)
    assert found[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert found[-1] == pytest.approx(0.01)
    assert found[2:] == sorted(found[2:], reverse=True)


def test_single_step_and_paper_values() -> None:
    assert rates(1, 0.5) == [1.0]
    assert learning_rate(1906, 1907, 4e-5, 0.01, 0.0) == pytest.approx(4e-7)
    assert learning_rate(0, 1907, 4e-5, 0.01, 0.0) == 4e-5
    with pytest.raises(ValueError, match="step must be in 0 … 4, got 5"):
        learning_rate(5, 5, 1.0, 0.01, 0.0)


def test_trajectory_lies_strictly_inside_the_run() -> None:
    assert trajectory_steps(100, 4) == [20, 40, 60, 80]
    assert trajectory_steps(1907, 10)[:3] == [173, 347, 520]
    assert trajectory_steps(3, 10) == [1, 2]
    assert trajectory_steps(1, 10) == []


def test_state_follows_every_nth_step_and_the_last() -> None:
    assert [step for step in range(1, 11) if saves_state(step, 10, 4)] == [4, 8, 10]
