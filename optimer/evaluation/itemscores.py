"""What one model did on each item of one task: the record a search keeps of every trial.

The metric's value decides the score. Log-likelihoods of the choices, and the position of the right
one, are kept beside it where the task is a choice: they move smoothly with the merge weights where
right and wrong do not, which is what the item response surface models.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # the harness loads torch and lm-eval; a search from Python may need neither
    from optimer.evaluation.harness import TaskScore


@dataclass(frozen=True)
class ItemScores:
    """One task, n items in the order of the split, at most C choices an item."""

    percent: float
    """The task's score in percent, by lm-eval's own aggregation."""
    ids: list[str]
    """`subtask/index`, the item's place in the task's test set."""
    values: np.ndarray
    """[n] float32: the metric of each item, 0..1; NaN where it is not a number."""
    choices: np.ndarray | None = None
    """[n, C] float32: log-likelihood of each choice, NaN past an item's own; None if generated."""
    gold: np.ndarray | None = None
    """[n] int16: which choice is right; -1 where the task names none or several."""
    scale: float = 100.0
    """Factor from the metric's unit to percent."""
    pooled: bool = True
    """Whether the score is the mean over items, not over subtasks."""


def item_scores(score: TaskScore) -> ItemScores:
    """The record of one scored task."""
    samples = score.samples
    values = np.array([_number(sample["value"]) for sample in samples], dtype=np.float32)
    ids = [f"{sample['task']}/{sample['id']}" for sample in samples]
    if not samples or any(not _weighed(sample["answers"]) for sample in samples):
        return ItemScores(score.percent, ids, values, scale=score.scale, pooled=score.pooled)
    width = max(len(sample["answers"]) for sample in samples)
    choices = np.full((len(samples), width), np.nan, dtype=np.float32)
    for row, sample in enumerate(samples):
        choices[row, : len(sample["answers"])] = [value for value, _ in sample["answers"]]
    gold = np.array([_gold(sample) for sample in samples], dtype=np.int16)
    return ItemScores(score.percent, ids, values, choices, gold, score.scale, score.pooled)


def _number(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float("nan")


def _weighed(answers: Any) -> bool:
    return all(isinstance(answer, tuple) for answer in answers)


def _gold(sample: Mapping[str, Any]) -> int:
    target = sample["target"]
    known = isinstance(target, int) and not isinstance(target, bool)
    return target if known and 0 <= target < len(sample["answers"]) else -1
