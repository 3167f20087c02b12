"""The finalists of `samplers.py`, run in full on the live engine: trials, re-ranking, report.

Budgets count everything a method evaluates, in full trials: search trials, the re-ranked ones (as
many items each at scale tiny), and gradient steps at three forward passes over their share of the
items. The reference is the paper's search: 100 trials of TPE in batches of 8, three re-ranked on
top. Results are kept line by line; a killed run continues.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from pools import live, objective, pool_bounds

from optimer.evaluation.itemscores import ItemScores
from optimer.search.api import default_settings
from optimer.search.gradient import ascend, cost, of_engine
from optimer.search.samplers import known_points
from optimer.search.samplers.points import to_unit
from optimer.search.samplers.proposer import History, Seen
from optimer.search.samplers.surface import SurfaceProposal
from optimer.seeding import stream_seed

TOP_K = 3
BUDGETS = (10, 25, 40)


class _Memory:
    """Item records of a study in memory."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, ItemScores]] = []

    def read(self, number: int, split: str = "search") -> Mapping[str, ItemScores]:
        return self.records[number]


def run_live(
    roots: Mapping[int, Path], combination: str, n_seeds: int, out: Path, params: Path
) -> dict[tuple[str, int], dict[tuple[int, int], float]]:
    """{(method, budget): {(pool, seed): report score}}."""
    log = (out / f"finalists_{combination}.jsonl").resolve()
    lines = log.read_text().splitlines() if log.exists() else []
    done = {(r["pool"], r["seed"]): r["report"] for r in map(json.loads, lines)}
    for seed in range(n_seeds):  # seeds outside: an early stop leaves equally many of each pool
        for pool, root in roots.items():
            if (pool, seed) in done:
                continue
            with live(root, combination, pool, params) as engine:
                found = _study(engine, combination, pool, seed)
            done[pool, seed] = found
            with log.open("a") as file:
                file.write(json.dumps({"pool": pool, "seed": seed, "report": found}) + "\n")
            print(f"live {combination} pool {pool} seed {seed}: {found}", flush=True)
    scores: dict[tuple[str, int], dict[tuple[int, int], float]] = defaultdict(dict)
    for key, by_method in done.items():
        for method, value in by_method.items():
            name, _, budget = method.rpartition("@")
            scores[name, int(budget)][key] = value
    return scores


def _study(engine, combination: str, pool: int, seed: int) -> dict[str, float]:
    scored: dict[tuple, float] = {}

    def on(weights: Mapping[str, float], split: str) -> float:
        key = (split, *weights.values())
        if key not in scored:
            engine.compose(weights)
            scored[key] = objective(engine.score(split))
        return scored[key]

    def reported(ranked) -> float:
        """Report score of the best on the rerank split among the first TOP_K."""
        best = max(ranked[:TOP_K], key=lambda weights: on(weights, "rerank"))
        return on(best, "report")

    found = {"tpe@100": reported(_tpe(engine, combination, pool, seed))}
    for start in (False, True):
        name = "gradient+surface" if start else "surface"
        for budget, ranked in _surface(engine, combination, pool, seed, start).items():
            found[f"{name}@{budget}"] = reported(ranked)
    return found


def _tpe(engine, combination: str, pool: int, seed: int) -> list[dict[str, float]]:
    from optimer.search.api import search

    def score(weights):
        engine.compose(weights)
        return {task: record.percent for task, record in engine.score("search").items()}

    names = list(pool_bounds(combination))
    result = search(names, score, seed=seed, name=f"pool{pool}", trials=100, batch=8)
    finished = [trial for trial in result.trials if trial.outcome is not None]
    finished.sort(key=lambda trial: (-trial.outcome.objective, trial.number))
    return [dict(trial.weights) for trial in finished]


def _surface(
    engine, combination: str, pool: int, seed: int, start: bool
) -> dict[int, list[dict[str, float]]]:
    """{budget: weights in order of the posterior mean} of one study that goes trial by trial."""
    ranges = pool_bounds(combination)
    settings = default_settings()
    memory = _Memory()
    own = stream_seed(seed, "finalist", f"pool{pool}")
    proposal = SurfaceProposal(settings.surface, own, memory)  # type: ignore[arg-type]
    first = known_points(ranges)
    spent = TOP_K
    if start:
        # known points are left out then: the gradient's end is one evaluated point, and paid for
        gradient = of_engine(engine, settings.gradient)
        first = [ascend(gradient, ranges, settings.gradient).weights]
        spent += cost(settings.gradient)
    seen: list[Seen] = []
    weights: list[dict[str, float]] = []
    ranked: dict[int, list[dict[str, float]]] = {}
    for budget in BUDGETS:
        while spent + 1 <= budget:
            number = len(seen)
            point = (
                first[number]
                if number < len(first)
                else _propose(proposal, ranges, number, stream_seed(own, "trial", number), seen)
            )
            engine.compose(point)
            memory.records.append(engine.score("search"))
            weights.append(point)
            seen.append(Seen(number, to_unit(ranges, point), objective(memory.records[-1])))
            spent += 1
        if len(seen) >= TOP_K:
            mean = proposal.surface(seen).score(proposal.surface(seen).points)[0]
            ranked[budget] = [weights[place] for place in (-mean).argsort(kind="stable")]
    return ranked


def _propose(proposal, ranges, number, seed, seen) -> dict[str, float]:
    from optimer.search.samplers.points import from_unit

    return from_unit(ranges, proposal(History(ranges, number, seed, list(seen), [])))
