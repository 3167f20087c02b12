"""`optimer reoptimize` as params describe it: the study of a combination, and its live model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from optimer.evaluation.folder import load_tokenizer
from optimer.evaluation.harness import Harness
from optimer.experiment import density, search_pool, tokenizer_folder
from optimer.merging.pool import Pool
from optimer.paths import Paths
from optimer.schema import Params
from optimer.search import space
from optimer.search.engines import Engine
from optimer.search.engines.factory import open_engine
from optimer.search.pareto import front
from optimer.search.recorded import Recorded, recorded
from optimer.search.reoptimize import Answer, Objective, answer, verify


def study_of(params: Params, paths: Paths, combination: str) -> Recorded:
    """The finished study of a combination. Raises ParamsError and SearchError."""
    vectors = search_pool(params, combination)
    ranges = space.bounds(vectors, params.search.bounds_it, params.search.bounds_dataset)
    records = paths.items(combination)
    if not records.exists():
        records = paths.study(combination).parent / "items"
    return recorded(paths.trials(combination), records, ranges)


def front_lines(params: Params, paths: Paths, combination: str) -> Iterator[str]:
    """The trials that no other beats on every task."""
    found = study_of(params, paths, combination)
    scores = np.array([list(row.values()) for row in found.scores])
    kept = front(scores)
    yield f"{combination}: {len(kept)} of {len(found.numbers)} trials are on the Pareto front"
    for place in kept:
        yield f"  trial {found.numbers[place] + 1}: {_numbers(found.scores[place])}"


def answer_lines(
    params: Params, paths: Paths, combination: str, text: str, constraints: Sequence[str],
    n_verified: int, progress: Callable[[str], None],
) -> Iterator[str]:  # fmt: skip
    """The answer to one objective, verified live where `n_verified` > 0."""
    objective = Objective.parse(text, constraints)
    found = study_of(params, paths, combination)
    source = "item records" if found.items is not None else "task scores (no item records kept)"
    yield f"{combination}: {len(found.numbers)} trials, {source}"
    first = answer(found, objective, max(n_verified, 3), params.seed)
    yield from _described(objective, first)
    if not n_verified:
        for point in first.proposals:
            yield f"  untried, worth a look: {_numbers(point, 3)}"
        return
    engine = live_engine(params, paths, combination, found.tasks, progress)
    try:
        best, found = verify(
            found, objective, first.proposals[:n_verified],
            lambda point: (engine.compose(point), engine.score("search"))[1],
        )  # fmt: skip
    finally:
        engine.close()
    for scores in found.scores[-n_verified:]:
        yield f"  verified: {objective.value(scores):.2f} ({_numbers(scores)})"
    yield from _described(objective, best)


def _described(objective: Objective, found: Answer) -> Iterator[str]:
    yield (
        f"trial {found.number + 1}: {objective.value(found.scores):.2f} as scored "
        f"({_numbers(found.scores)}), {found.expected:.2f} ± {found.deviation:.2f} expected"
    )
    yield f"  weights: {_numbers(found.weights, 4)}"
    if any(weight > 0 for name, weight in found.weights.items() if name != space.IT):
        yield f"  data mixture it implies: {_numbers(space.ratios(found.weights)[0], 3)}"


def _numbers(values: dict[str, float], digits: int = 1) -> str:
    return ", ".join(f"{name} {value:.{digits}f}" for name, value in values.items())


def live_engine(
    params: Params, paths: Paths, combination: str, tasks: Sequence[str],
    progress: Callable[[str], None],
) -> Engine:  # fmt: skip
    """An engine over a combination's pool, with these tasks' search items."""
    tokenizer = load_tokenizer(tokenizer_folder(params, paths))
    harness = Harness(params, paths, tokenizer, tasks, ("search",))
    method = params.merge.method
    pool = Pool.open(
        paths.model("base"),
        {name: paths.vector(name) for name in search_pool(params, combination)},
        method, density(params, method), params.seed, params.merge.exclude,
    )  # fmt: skip
    return open_engine(params, paths, pool, harness, progress)
