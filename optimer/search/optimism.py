"""How much better the best trial looks than it is, and what a score on fresh items says.

The best of many trials on the same items is the best partly by luck (winner's curse). Two figures:
what the winner of a search is expected to lose on fresh items, by bootstrap over the search items
(draw items anew, take the trial that is best on the draw, compare its score there with its score
on all items: Efron 1983, JASA 78:316), and what the re-ranked trials did lose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import numpy as np

from optimer.evaluation import intervals
from optimer.evaluation.intervals import Estimate
from optimer.evaluation.itemscores import ItemScores
from optimer.search.racing import percentages
from optimer.search.trial import Trial

Records = Mapping[str, ItemScores]
_DRAWS = 1000


def expected(records: Sequence[Records], seed: int = 0) -> float | None:
    """Expected optimism of the best of these trials, in points of percent.

    `records`: one entry a trial, all on the same items. None where a task's score is no mean over
    its items, or there are fewer than two trials.
    """
    if len(records) < 2 or not all(map(_linear, records)):
        return None
    generator = np.random.default_rng(seed)
    whole, drawn = np.zeros(len(records)), np.zeros((_DRAWS, len(records)))
    for task in records[0]:
        values = np.stack([percentages(record[task]) for record in records])  # [trials, items]
        n = values.shape[1]
        counts = generator.multinomial(n, np.full(n, 1 / n), size=_DRAWS)
        whole += values.mean(axis=1) / len(records[0])
        drawn += counts @ values.T / n / len(records[0])
    best = drawn.argmax(axis=1)
    return float(np.mean(drawn[np.arange(_DRAWS), best] - whole[best]))


def observed(trials: Sequence[Trial]) -> float | None:
    """Mean of search score minus rerank score over the re-ranked trials, in points of percent."""
    drops = [
        trial.outcome.objective - trial.rerank.objective
        for trial in trials
        if trial.rerank and trial.outcome
    ]
    return fmean(drops) if drops else None


def estimate(records: Records, confidence: float) -> Estimate | None:
    """Mean of the tasks' scores with its interval, in percent; None where no interval is known."""
    if not _linear(records):
        return None
    return intervals.mean_of([_of_task(item, confidence) for item in records.values()], confidence)


def _of_task(record: ItemScores, confidence: float) -> Estimate:
    groups: dict[str, list[float]] = {}
    for name, value in zip(record.ids, record.values.tolist(), strict=True):
        groups.setdefault("" if record.pooled else name.rpartition("/")[0], []).append(value)
    parts = [intervals.of_items(values, confidence) for values in groups.values()]
    return intervals.mean_of(parts, confidence).scaled(record.scale)


def _linear(records: Records) -> bool:
    return all(
        bool(np.isfinite(record.values).all())
        and abs(float(percentages(record).mean()) - record.percent) < 1e-3
        for record in records.values()
    )


def described(
    trials: Sequence[Trial], records: Sequence[Records], seed: int
) -> dict[str, Any]:  # fmt: skip
    """Part `optimism` of best.yaml."""
    bootstrap, drop = expected(records, seed), observed(trials)
    n = sum(trial.rerank is not None for trial in trials)
    return {
        "expected": None if bootstrap is None else round(bootstrap, 4),
        "expected_by": f"bootstrap of the search items, {_DRAWS} draws over {len(records)} trials",
        "observed": None if drop is None else round(drop, 4),
        "observed_by": f"search minus rerank score, mean of the {n} re-ranked trials",
    }
