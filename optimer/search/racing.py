"""Racing: a trial that is behind the best one is stopped before all its items are scored.

The search items are dealt into blocks, each task's items round-robin in an order shuffled by
seed, so that every block is a small copy of the split. After each block but the last the trial is
compared with the incumbent on the items both have. What decides a trial is its score on all the
items, and those not seen yet are drawn without replacement; with d_i the differences in percent,

    D = 1/T Σ_t mean_i∈t(d_i),   V = s²/T² Σ_t (1 − n_t / N_t) / n_t,   stop if D < −c √V.

Given that both are equal on all items (the least favourable case), D / √V after a share x of the
items is W(u) / √u at u = x / (1 − x), W a Brownian motion. One critical value c for all looks
(Pocock 1977, Biometrika 64:191) makes the chance of any stop `false_stop`; it is found by the
recursion of Armitage, McPherson and Rowe (1969, JRSS A 132:235). s² is the variance of d within
tasks, with two more items, one difference of +100 and one of −100, so that a few equal answers do
not look like certainty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, pairwise
from statistics import NormalDist, fmean

import numpy as np

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.evaluation.splits import Block
from optimer.seeding import unit_float

Records = Mapping[str, ItemScores]
_GRID = 200  # points of the numerical integration
_HIGH = 8.0  # its upper end, in standard deviations


@dataclass(frozen=True)
class Result:
    """What racing one trial gave."""

    records: dict[str, ItemScores]
    """Of the items seen, in the order of the split."""
    stopped: bool
    n_seen: int
    estimate: float
    """Score in percent if it was not stopped; else the incumbent's plus D."""


def deal(ids: Mapping[str, Sequence[str]], n_blocks: int, seed: int) -> list[Block]:
    """Blocks of items: {task: ids} each; `ids` are those of the whole split, by task.

    A task with fewer items than blocks is in the first ones only.
    """
    blocks: list[dict[str, frozenset[str]]] = [{} for _ in range(n_blocks)]
    for task, names in ids.items():
        order = sorted(names, key=lambda name: (unit_float(seed, "race", task, name), name))
        for place, block in enumerate(blocks):
            if part := order[place::n_blocks]:
                block[task] = frozenset(part)
    return [block for block in blocks if block]


@lru_cache(maxsize=64)
def critical(looks: tuple[float, ...], false_stop: float) -> float:
    """c such that min over looks of W(u)/√u falls below −c with chance `false_stop`.

    `looks`: shares of the items seen at each look, ascending, all below 1.
    """
    times = [share / (1 - share) for share in looks]
    low, high = -NormalDist().inv_cdf(false_stop), _HIGH
    for _ in range(20):
        middle = (low + high) / 2
        if _crossing(times, middle) > false_stop:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _crossing(times: Sequence[float], bound: float) -> float:
    """P(min W(u)/√u < −bound) by integrating the density of what has not crossed yet."""
    step = (_HIGH + bound) / _GRID
    z = -bound + step * (np.arange(_GRID) + 0.5)
    alive = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi) * step
    for before, now in pairwise(times):
        # density of Z_now given Z_before: mean z √(before / now), variance 1 − before / now
        keep = before / now
        edges = np.append(z - step / 2, z[-1] + step / 2)
        shifted = (edges[:, None] - z[None, :] * np.sqrt(keep)) / np.sqrt(1 - keep)
        alive = np.diff(_normal_cdf(shifted), axis=0) @ alive
    return float(1 - alive.sum())


def _normal_cdf(x: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return ndtr(x)


def percentages(record: ItemScores, ids: Sequence[str] | None = None) -> np.ndarray:
    """Item values [n] in percent whose mean over the whole split is the task's score.

    `ids`: items of the whole split, where the record has part of them. A score that is the mean
    over subtasks weighs each item by the size of its subtask.
    """
    values = record.scale * record.values.astype(np.float64)
    if record.pooled:
        return values
    whole = list(ids or record.ids)
    sizes: dict[str, int] = {}
    for name in whole:
        leaf = name.rpartition("/")[0]
        sizes[leaf] = sizes.get(leaf, 0) + 1
    share = len(whole) / len(sizes)
    return values * [share / sizes[name.rpartition("/")[0]] for name in record.ids]


def check_linear(records: Records) -> None:
    """Refuse tasks whose score is not a mean over items.

    Raises SearchError naming the task.
    """
    for task, record in records.items():
        if not abs(float(np.mean(percentages(record))) - record.percent) < 1e-3:
            raise SearchError(
                f"racing compares trials item by item, but the score of {task} is no mean over "
                "its items; set search.racing.enabled: false, or search on other proxy tasks"
            )


def behind(trial: Records, best: Records, false_stop: float, looks: Sequence[float]) -> bool:
    """Whether a trial may be stopped after the items in `trial`.

    `best`: the incumbent's records on the whole split. `looks` as in `critical`.
    """
    difference, variance = _paired(trial, best)
    return difference < -critical(tuple(looks), false_stop) * variance**0.5


def _paired(trial: Records, best: Records) -> tuple[float, float]:
    """D and V of the module's formula, in percent and percent²."""
    means, spread, n_seen, factors = [], 2 * 100.0**2, 2, []
    for task, record in trial.items():
        other = best[task]
        place = {name: at for at, name in enumerate(other.ids)}
        own = percentages(record, other.ids)
        d = own - percentages(other)[[place[name] for name in record.ids]]
        means.append(float(d.mean()))
        spread += float(((d - d.mean()) ** 2).sum())
        n_seen += len(d)
        factors.append((1 - len(d) / len(other.ids)) / len(d))
    return sum(means) / len(means), spread / n_seen * sum(factors) / len(factors) ** 2


def join(parts: Sequence[Records], ids: Mapping[str, Sequence[str]]) -> dict[str, ItemScores]:
    """One record a task from those of its blocks, items in the order of the split."""
    joined = {}
    for task, names in ids.items():
        own = [part[task] for part in parts if task in part]
        if not own:
            continue
        rank = {name: at for at, name in enumerate(names)}
        seen = [name for record in own for name in record.ids]
        order = sorted(range(len(seen)), key=lambda at: rank[seen[at]])
        values = np.concatenate([record.values for record in own])[order]
        choices = gold = None
        if all(record.choices is not None and record.gold is not None for record in own):
            width = max(record.choices.shape[1] for record in own)  # type: ignore[union-attr]
            choices = np.concatenate([_padded(record.choices, width) for record in own])[order]
            gold = np.concatenate([record.gold for record in own])[order]  # type: ignore[misc]
        record = replace(
            own[0], ids=[seen[at] for at in order], values=values, choices=choices, gold=gold
        )
        joined[task] = replace(record, percent=_percent(record, names))
    return joined


def _percent(record: ItemScores, names: Sequence[str]) -> float:
    """Mean over the items; to the last bit the harness's where it pools them."""
    if record.pooled:
        return record.scale * fmean(record.values.tolist())
    return fmean(percentages(record, names))


def _padded(choices: np.ndarray | None, width: int) -> np.ndarray:
    assert choices is not None
    missing = width - choices.shape[1]
    return np.pad(choices, ((0, 0), (0, missing)), constant_values=np.nan)


def race(
    score: Callable[[Block], Mapping[str, ItemScores]],
    best: Records,
    best_score: float,
    blocks: Sequence[Block],
    false_stop: float,
) -> Result:
    """Score block after block until all are seen or the trial is behind.

    `best` and `best_score` are the incumbent's, on the whole split. Raises SearchError where a
    task's score is no mean over its items.
    """
    check_linear(best)
    ids = {task: record.ids for task, record in best.items()}
    sizes = list(accumulate(sum(map(len, block.values())) for block in blocks))
    looks = [size / sizes[-1] for size in sizes[:-1]]
    parts: list[Mapping[str, ItemScores]] = []
    for number, block in enumerate(blocks):
        parts.append(score(block))
        seen = join(parts, ids)
        if number < len(looks) and behind(seen, best, false_stop, looks):
            estimate = best_score + _paired(seen, best)[0]
            return Result(seen, True, sizes[number], estimate)
    scores = [record.percent for record in seen.values()]
    return Result(seen, False, sizes[-1], sum(scores) / len(scores))
