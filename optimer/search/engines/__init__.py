"""Engines: a live model that takes merge weights and answers items.

Who owns what: the process of a search worker owns the study and the tasks; its engine owns the
model. The Hugging Face engine lives in that process. vLLM's engine lives there too and talks to
its own worker processes (one per tensor-parallel rank), which hold base and vectors: a trial sends
them K floats and gets a checksum back.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Protocol

from optimer.evaluation.itemscores import ItemScores
from optimer.evaluation.splits import Block, Split
from optimer.search.failures import EngineDied
from optimer.search.racing import race
from optimer.search.trial import Incumbent, Outcome, Stopped, Weights

__all__ = ["Engine", "EngineDied", "evaluate", "evaluate_racing"]


class Engine(Protocol):
    """What a search needs of an engine.

    An engine that is gone raises EngineDied: its worker ends and another takes the trial. Any
    other error counts against the trial.
    """

    def compose(self, weights: Mapping[str, float]) -> str:
        """Make θ(w) the live model; returns the checksum of its weights."""
        ...

    def score(self, split: Split, block: Block | None = None) -> dict[str, ItemScores]:
        """The live model's record on every proxy task; with `block`, on those items of it."""
        ...

    def close(self) -> None:
        """Give memory and processes back."""
        ...


def evaluate(engine: Engine, weights: Weights, split: Split) -> Outcome:
    """Compose, score, and time both."""
    started = time.perf_counter()
    digest = engine.compose(weights)
    composed = time.perf_counter()
    items = engine.score(split)
    scores = {name: record.percent for name, record in items.items()}
    return Outcome(scores, composed - started, time.perf_counter() - composed, digest, items=items)


def evaluate_racing(
    engine: Engine, weights: Weights, best: Incumbent, blocks: Sequence[Block], false_stop: float
) -> Outcome:
    """Compose, and score the search split block by block for as long as `best` may be beaten."""
    started = time.perf_counter()
    digest = engine.compose(weights)
    composed = time.perf_counter()
    raced = race(
        lambda block: engine.score("search", block), best.items, best.objective, blocks, false_stop
    )
    seconds = time.perf_counter() - composed
    n_items = sum(len(record.ids) for record in best.items.values())
    stopped = None
    if raced.stopped:
        stopped = Stopped(raced.n_seen, n_items, best.number, raced.estimate)
    scores = {name: record.percent for name, record in raced.records.items()}
    return Outcome(scores, composed - started, seconds, digest, stopped, items=raced.records)
