"""`search`: find merge weights with a study, then re-rank its best trials.

From Python:

    pool = Pool.open(base, {"it": ..., "cpt_ja": ...}, method="dare_linear", density=0.9, seed=0)
    result = search(pool, score=lambda weights: {"gsm8k": ..., "mgsm": ...}, trials=100)
    result.best.weights

Algorithm 1 of arXiv 2603.28858: N0 random trials, TPE up to T, the K best on more items, argmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from optimer.errors import SearchError
from optimer.schema.search import SearchParams, TpeParams
from optimer.search import space, study
from optimer.search.sampler import CountedSampler
from optimer.search.study import Outcome, Progress, Trial, Weights

AnyScore = Callable[[Weights], "Outcome | Mapping[str, float] | float"]


class Named(Protocol):
    """A pool, as far as a search is concerned: the names of its vectors, IT first."""

    @property
    def names(self) -> Sequence[str]: ...


@dataclass(frozen=True)
class SearchResult:
    """Every trial in order, and the winner of the re-ranking."""

    trials: list[Trial]
    best: Trial

    @property
    def ratios(self) -> dict[str, float]:
        """Mixture ratios that the best weights imply."""
        return space.ratios(self.best.weights)[0]


def default_settings(**overrides: Any) -> SearchParams:
    """The paper's settings (§4.2) with `overrides`, e.g. `trials=30`.

    Keys of TPE (`n_startup_trials`, …) are accepted beside those of the search.
    """
    tpe = {
        "n_startup_trials": 20,
        "n_ei_candidates": 24,
        "gamma": 0.1,
        "multivariate": False,
        "constant_liar": True,
    }
    base: dict[str, Any] = {
        "sampler": "tpe",
        "trials": 100,
        "batch": 8,
        "top_k": 3,
        "bounds_it": [0.3, 1.0],
        "bounds_dataset": [0.0, 1.0],
        "search_items": 100,
        "rerank_items": 300,
    }
    tpe |= {key: overrides.pop(key) for key in list(overrides) if key in tpe}
    unknown = set(overrides) - set(base)
    if unknown:
        raise SearchError(
            f"search: unknown setting {sorted(unknown)[0]!r}; known: {', '.join([*base, *tpe])}"
        )
    return SearchParams(**{**base, **overrides}, tpe=TpeParams(**tpe))


def search(
    pool: Named | Sequence[str],
    score: AnyScore,
    *,
    rerank: AnyScore | None = None,
    settings: SearchParams | None = None,
    seed: int = 0,
    name: str = "study",
    journal: Path | None = None,
    identity: Mapping[str, Any] | None = None,
    progress: Progress = lambda line: None,
    **overrides: Any,
) -> SearchResult:
    """Search merge weights of `pool` (or of a list of vector names).

    `score(weights)` gives the score in percent of the merged model: a number, {task: score}, whose
    unweighted mean is maximised, or an `Outcome`. `rerank` scores the K best again on other items;
    without it the best trial wins. With `journal` the study survives a kill; `identity` is then
    whatever else decides a score (hashes of vectors, task list): other identity, new study.
    `overrides` are settings by name (`trials=30`). Raises SearchError.
    """
    chosen = settings or default_settings(**overrides)
    vectors = list(pool.names if hasattr(pool, "names") else pool)  # type: ignore[union-attr]
    ranges = space.bounds(vectors, chosen.bounds_it, chosen.bounds_dataset)
    described = chosen.model_dump(exclude={"trials", "top_k", "rerank_items"})
    if chosen.trials % chosen.batch:  # the last, short batch is asked with fewer trials running
        described["trials"] = chosen.trials
    described |= {"vectors": vectors, "seed": seed, "identity": dict(identity or {})}
    sampler = CountedSampler(chosen, seed, name)
    with study.exclusive(journal) if journal else nullcontext():
        opened = study.open_study(journal, name, described, sampler, progress)
        trials = study.run(opened, chosen, ranges, _normal(score), progress)
    ordered = sorted(trials, key=lambda item: (-item.outcome.objective, item.number))
    if rerank is None:
        return SearchResult(trials, ordered[0])
    for place, trial in enumerate(ordered[: chosen.top_k], 1):
        again = replace(trial, rerank=_normal(rerank)(trial.weights))
        assert again.rerank is not None
        progress(
            f"re-ranking {place}/{chosen.top_k}: trial {trial.number + 1} "
            f"{trial.outcome.objective:.2f} -> {again.rerank.objective:.2f}"
        )
        trials[trial.number] = again
    return SearchResult(trials, max((trials[item.number] for item in ordered), key=_rank))


def _rank(trial: Trial) -> tuple[bool, float, float, int]:
    second = trial.rerank.objective if trial.rerank else 0.0
    return trial.rerank is not None, second, trial.outcome.objective, -trial.number


def _normal(score: AnyScore) -> Callable[[Weights], Outcome]:
    """`score` with every accepted answer turned into an Outcome."""

    def scored(weights: Weights) -> Outcome:
        answer = score(weights)
        if isinstance(answer, Outcome):
            return answer
        if isinstance(answer, Mapping):
            return Outcome({task: float(value) for task, value in answer.items()})
        return Outcome({"score": float(answer)})

    return scored
