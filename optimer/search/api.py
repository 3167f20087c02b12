"""`search`: find merge weights with a study, then re-rank its best trials.

From Python:

    pool = Pool.open(base, {"it": ..., "cpt_ja": ...}, method="dare_linear", density=0.9, seed=0)
    result = search(pool, score=lambda weights: {"gsm8k": ..., "mgsm": ...}, trials=100)
    result.best.weights

Algorithm 1 of arXiv 2603.28858: N0 random trials, TPE up to T, the K best on more items, argmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from optimer.errors import SearchError
from optimer.schema.search import SearchParams
from optimer.search import space
from optimer.search.finish import rerank_best
from optimer.search.samplers import Gradient, known_points, make
from optimer.search.storage import open_storage
from optimer.search.study import Study, open_study
from optimer.search.trial import Outcome, Progress, Scorer, Trial, Weights
from optimer.search.worker import Worker

if TYPE_CHECKING:
    from optimer.search.itemstore import ItemStore

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


_DEFAULTS: dict[str, Any] = {
    "sampler": "tpe",
    "trials": 100,
    "batch": 8,
    "top_k": 3,
    "bounds_it": [0.3, 1.0],
    "bounds_dataset": [0.0, 1.0],
    "search_items": 100,
    "rerank_items": 300,
    "backend": "hf",
    "swap": "auto",
    "vectors_on": "device",
    "mode": "synchronous",
    "known_points": False,
    "racing": {"enabled": False, "blocks": 10, "false_stop": 0.05},
    "tpe": {
        "n_startup_trials": 20,
        "n_ei_candidates": 24,
        "gamma": 0.1,
        "multivariate": False,
        "constant_liar": True,
    },
    "gradient": {"start": False, "steps": 10, "rate": 0.08, "share": 0.2},
    "surface": {"n_initial": 2, "acquisition": "improvement", "exploration": 1.0},
}


def default_settings(**overrides: Any) -> SearchParams:
    """The paper's settings (§4.2) with `overrides`, e.g. `trials=30`.

    Keys of TPE (`n_startup_trials`, …) are accepted beside those of the search; sections are
    mappings of the keys to change: `racing={"enabled": True}`. Raises SearchError.
    """
    known = {**_DEFAULTS, "tpe": dict(_DEFAULTS["tpe"])}
    for key in list(overrides):
        if key in known["tpe"]:
            known["tpe"][key] = overrides.pop(key)
    unknown = set(overrides) - set(known)
    if unknown:
        raise SearchError(
            f"search: unknown setting {sorted(unknown)[0]!r}; known: "
            f"{', '.join([*known, *known['tpe']])}"
        )
    for key, value in overrides.items():
        known[key] = {**known[key], **value} if isinstance(known[key], dict) else value
    return SearchParams(**known)


def search(
    pool: Named | Sequence[str],
    score: AnyScore,
    *,
    rerank: AnyScore | None = None,
    race: Scorer | None = None,
    settings: SearchParams | None = None,
    seed: int = 0,
    name: str = "study",
    journal: Path | None = None,
    storage: str | None = None,
    identity: Mapping[str, Any] | None = None,
    gradient: Gradient | None = None,
    progress: Progress = lambda line: None,
    finish: Callable[[SearchResult, Study], None] | None = None,
    **overrides: Any,
) -> SearchResult:
    """Search merge weights of `pool` (or of a list of vector names).

    `score(weights)` gives the score in percent of the merged model: a number, {task: score}, whose
    unweighted mean is maximised, or an `Outcome`. `rerank` scores the K best again on other items;
    without it the best trial wins. `race(weights, incumbent)` scores in place of `score` where
    settings enable racing. With `journal` the study survives a kill, and every process that calls
    this with the same arguments works on it; `storage` is the URL of a PostgreSQL database that
    holds it instead (item records stay beside `journal`). `identity` is whatever else decides a
    score (hashes of vectors, task list): other identity, new study. `gradient(weights, step)` is
    what sampler `gradient` and `search.gradient.start` climb. `finish` gets the result while
    no other worker does. `overrides` are settings by name (`trials=30`). Raises SearchError.
    """
    chosen = settings or default_settings(**overrides)
    vectors = list(pool.names if hasattr(pool, "names") else pool)  # type: ignore[union-attr]
    ranges = space.bounds(vectors, chosen.bounds_it, chosen.bounds_dataset)
    if chosen.racing.enabled and race is None:
        raise SearchError(
            "search.racing needs an engine that scores part of the items; give `race`, or set "
            "search.racing.enabled: false"
        )
    scorer = race if race and chosen.racing.enabled else _alone(score)
    described = _described(chosen, vectors, seed, identity)
    with open_storage(journal, storage) as opened:
        study = open_study(
            opened, name, described, chosen, ranges,
            lambda full: make(chosen, seed, name, ranges, item_store(journal, full), gradient),
            _known_points(chosen, ranges), progress,
        )  # fmt: skip
        store = item_store(journal, study.name)
        try:
            trials = Worker(study, scorer, store, progress).run()
            if rerank is not None:
                rerank_best(study, _normal(rerank), store, progress)
                trials = study.finished()
            result = SearchResult(trials, _best(trials))
            if finish is not None:
                with study.locks.wait("finish"):
                    finish(result, study)
            return result
        finally:
            study.locks.close()


def item_store(journal: Path | None, study: str) -> ItemStore | None:
    """Where the item records of a study lie: beside the journal."""
    if journal is None:
        return None
    from optimer.search.itemstore import ItemStore

    return ItemStore(journal.parent / "items" / study)


def _described(
    settings: SearchParams, vectors: Sequence[str], seed: int, identity: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What makes a study this study; not how long it is or what comes after its trials."""
    described = settings.model_dump(
        exclude={"trials", "top_k", "rerank_items", "swap", "vectors_on"}
    )
    if settings.trials % settings.batch:  # the last, short batch is asked with fewer running
        described["trials"] = settings.trials
    return described | {"vectors": list(vectors), "seed": seed, "identity": dict(identity or {})}


def _known_points(
    settings: SearchParams, ranges: space.Bounds
) -> Callable[[Weights | None], list[Weights]]:
    def points(winner: Weights | None) -> list[Weights]:
        if not settings.known_points:
            return []
        return known_points(ranges, [winner] if winner else [])

    return points


def _best(trials: Sequence[Trial]) -> Trial:
    """Best of the re-ranked, else best of those scored on every item."""

    def place(trial: Trial) -> tuple[bool, float, float, int]:
        assert trial.outcome is not None
        second = trial.rerank.objective if trial.rerank else 0.0
        return trial.rerank is not None, second, trial.outcome.objective, -trial.number

    return max((trial for trial in trials if trial.state == "complete"), key=place)


def _alone(score: AnyScore) -> Scorer:
    scored = _normal(score)
    return lambda weights, incumbent: scored(weights)


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
