"""After the trials: the best of them are scored again on items that chose nothing yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from optimer.errors import SearchError
from optimer.search import failures
from optimer.search.failures import EngineDied
from optimer.search.study import Study
from optimer.search.trial import Outcome, Progress, Trial, Weights

if TYPE_CHECKING:
    from optimer.search.itemstore import ItemStore

_PAUSE = 0.05  # seconds between two looks at what others re-rank


def candidates(trials: list[Trial], top_k: int) -> list[Trial]:
    """The K best trials that were scored on every item, best first, earlier ones before equals."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return sorted(complete, key=_place)[:top_k]


def _place(trial: Trial) -> tuple[float, int]:
    assert trial.outcome is not None
    return -trial.outcome.objective, trial.number


def rerank_best(
    study: Study, rerank: Callable[[Weights], Outcome], store: ItemStore | None, progress: Progress
) -> None:
    """Score the K best again; workers share them, and what is done is kept.

    Raises SearchError when one cannot be scored; the next run tries again.
    """
    chosen = candidates(study.finished(), study.settings.top_k)
    while left := [trial for trial in chosen if study.rerank(trial.number) is None]:
        for trial in left:
            with study.locks.attempt(f"rerank-{trial.number}") as mine:
                if mine and study.rerank(trial.number) is None:
                    _again(study, trial, chosen.index(trial) + 1, rerank, store, progress)
                    break
        else:
            time.sleep(_PAUSE)


def _again(
    study: Study,
    trial: Trial,
    place: int,
    rerank: Callable[[Weights], Outcome],
    store: ItemStore | None,
    progress: Progress,
) -> None:
    what = f"re-ranking trial {trial.number}"
    try:
        again = rerank(dict(trial.weights))
    except EngineDied:
        raise
    except Exception as error:
        reason = failures.described(error)
        raise failures.no_space(error, what) or SearchError(
            f"{what} failed with: {reason}. Its {study.settings.trials} trials are kept: mend "
            "that and run the same command"
        ) from error
    if reason := failures.not_finite(again.scores):
        raise SearchError(f"{what}: {reason}; check the vectors for NaN and the proxy tasks")
    if store is not None and again.items:
        store.write(trial.number, "rerank", again.items)
    study.keep_rerank(trial.number, again)
    assert trial.outcome is not None
    progress(
        f"re-ranking {place}/{study.settings.top_k}: trial {trial.number + 1} "
        f"{trial.outcome.objective:.2f} -> {again.objective:.2f}"
    )
