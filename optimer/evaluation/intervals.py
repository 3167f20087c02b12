"""Intervals of scores.

Item scores that are all 0 or 1: Wilson's interval (Wilson 1927, JASA 22:209), which stays in
[0, 1] and is not empty at 0 or 100 %. Other scores: mean ± z·s/√n with the sample standard
deviation s. Means of several scores: independent errors, each taken as half an interval over z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev


@dataclass(frozen=True)
class Estimate:
    """A score with its interval and standard error, all in the score's unit."""

    value: float
    low: float
    high: float
    stderr: float

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit, e.g. percent."""
        return Estimate(*(factor * x for x in (self.value, self.low, self.high, self.stderr)))


def quantile(confidence: float) -> float:
    """z with P(|N(0, 1)| ≤ z) = confidence; 1.96 at 0.95."""
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def wilson(successes: float, n: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a proportion, (low, high) in [0, 1]."""
    z2 = quantile(confidence) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def of_items(scores: Sequence[float], confidence: float) -> Estimate:
    """Mean of item scores with its interval."""
    mean = fmean(scores)
    n = len(scores)
    deviation = stdev(scores) / math.sqrt(n) if n > 1 else 0.0
    if all(score in (0, 1) for score in scores):
        low, high = wilson(sum(scores), n, confidence)
    else:
        half = quantile(confidence) * deviation
        low, high = mean - half, mean + half
    return Estimate(mean, low, high, deviation)


def mean_of(parts: Sequence[Estimate], confidence: float) -> Estimate:
    """Unweighted mean of independent scores; one part keeps its own interval."""
    if len(parts) == 1:
        return parts[0]
    z = quantile(confidence)
    value = fmean(part.value for part in parts)
    half_widths = [(part.high - part.low) / 2 for part in parts]
    half = math.sqrt(sum(width**2 for width in half_widths)) / len(parts)
    return Estimate(value, value - half, value + half, half / z)
