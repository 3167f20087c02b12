"""What a trial is: merge weights, what scoring them gave, and how the trial ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from optimer.evaluation.itemscores import ItemScores

Weights = dict[str, float]
Progress = Callable[[str], None]
State = Literal["complete", "stopped", "failed"]


@dataclass(frozen=True)
class Stopped:
    """A trial that racing stopped: what was seen of it, and what it is told as."""

    n_items: int
    """Items seen."""
    of: int
    """Items of the whole split."""
    incumbent: int
    """Number of the trial it was compared with."""
    estimate: float
    """Incumbent's score on all items plus the mean paired difference on those seen, in percent."""


@dataclass(frozen=True)
class Outcome:
    """What scoring one composition gave; scores in percent, times in seconds."""

    scores: dict[str, float]
    """By task; of a stopped trial, over the items seen."""
    seconds_compose: float = 0.0
    seconds_score: float = 0.0
    checksum: str = ""
    """Checksum of the composed weights, so that the shipped model can be compared with it."""
    stopped: Stopped | None = None
    items: Mapping[str, ItemScores] | None = field(default=None, compare=False, repr=False)
    """Record of every item by task; kept beside the study, not in it."""

    @property
    def objective(self) -> float:
        """Unweighted mean over the proxy tasks, in percent; the estimate of a stopped trial.

        The mean over the items a stopped trial has seen would mislead a sampler: on easy items it
        may exceed the incumbent's mean over all. The paired estimate cannot.
        """
        if self.stopped is not None:
            return self.stopped.estimate
        return sum(self.scores.values()) / len(self.scores)

    def stored(self) -> dict[str, Any]:
        """What the study itself keeps: everything but the items."""
        found = {
            item.name: getattr(self, item.name) for item in fields(self) if item.name != "items"
        }
        return found | {"stopped": vars(self.stopped) if self.stopped else None}

    @classmethod
    def of_stored(cls, stored: Mapping[str, Any]) -> Outcome:
        """The outcome that `stored` describes, without items."""
        stopped = stored.get("stopped")
        return cls(**{**stored, "stopped": Stopped(**stopped) if stopped else None})


@dataclass(frozen=True)
class Trial:
    """One finished trial."""

    number: int
    batch: int
    phase: str
    """`known`, `random` before TPE has its startup trials, or the sampler's name."""
    weights: Weights
    outcome: Outcome | None
    """None when the trial failed."""
    rerank: Outcome | None = None
    reason: str = ""
    """Why it failed."""

    @property
    def state(self) -> State:
        if self.outcome is None:
            return "failed"
        return "stopped" if self.outcome.stopped else "complete"


@dataclass(frozen=True)
class Incumbent:
    """The trial to beat: the best of finished batches that was scored on every item."""

    number: int
    objective: float
    """In percent."""
    items: Mapping[str, ItemScores] = field(compare=False, repr=False)


Score = Callable[[Weights], Outcome]
Scorer = Callable[[Weights, Incumbent | None], Outcome]
"""Scores in view of the trial to beat; None where settings do not ask for racing, or at first."""
