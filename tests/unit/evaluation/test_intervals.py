"""Intervals against published and hand-computed values."""

from __future__ import annotations

import random

import pytest

from optimer.evaluation.intervals import Estimate, mean_of, of_items, quantile, wilson


def test_quantile():
    assert quantile(0.95) == pytest.approx(1.959964, abs=1e-6)
    assert quantile(0.90) == pytest.approx(1.644854, abs=1e-6)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
     (1, 29, 0.0061, 0.1718), (20, 20, 0.8389, 1.0)],
)  # fmt: skip
def test_wilson_against_newcombe_1998(successes, n, low, high):
    """Table I of Newcombe (1998), Statistics in Medicine 17:857, method 3."""
    assert wilson(successes, n, 0.95) == pytest.approx((low, high), abs=5e-5)


def test_items_of_zeros_and_ones_get_wilson():
    found = of_items([1.0] * 15 + [0.0] * 133, 0.95)
    assert (found.low, found.high) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert found.stderr == pytest.approx(0.02489, abs=1e-5)


def test_other_items_get_mean_and_deviation():
    found = of_items([0.0, 0.5, 1.0, 0.5], 0.95)
    assert found.value == 0.5
    assert found.stderr == pytest.approx(0.2041241)
    assert found.high - found.value == pytest.approx(1.959964 * 0.2041241, abs=1e-6)


def test_mean_of_independent_scores():
    one, two = Estimate(40, 30, 50, 5), Estimate(60, 56, 64, 2)
    assert mean_of([one], 0.95) is one
    both = mean_of([one, two], 0.95)
    assert (both.value, both.high - both.value) == (50, pytest.approx((10**2 + 4**2) ** 0.5 / 2))


def test_coverage_of_the_interval():
    """95 % intervals of 200 items at p = 0.07 hold the truth in 93 to 98 % of 2000 draws."""
    draw = random.Random(0)
    hits = 0
    for _ in range(2000):
        found = of_items([float(draw.random() < 0.07) for _ in range(200)], 0.95)
        hits += found.low <= 0.07 <= found.high
    assert 0.93 < hits / 2000 < 0.98


def test_scaled():
    assert Estimate(0.5, 0.4, 0.6, 0.05).scaled(100) == Estimate(50, 40, 60, 5)
