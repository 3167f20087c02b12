"""Which items of a task score a trial, re-rank the best, and are reported.

Protocol `split` (design §6.1): three disjoint shares of every task, shuffled by seed. Identical
items (same prompt and target) always fall into the same share, and the items of an lm-eval group
are spread over its subtasks in proportion. Protocol `paper`: the first `search_items`, the first
`rerank_items` and all items (arXiv 2603.28858 §4.2), which overlap; in a group "first" takes one
item of each subtask in turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from optimer.errors import EvaluationError
from optimer.schema import Params
from optimer.schema.benchmark import SplitParams
from optimer.seeding import unit_float

Split = Literal["search", "rerank", "report"]
Block = Mapping[str, frozenset[str]]
"""Part of a split: {task: item ids `subtask/index`}."""
SPLITS: tuple[Split, ...] = ("search", "rerank", "report")


@dataclass(frozen=True, order=True)
class Item:
    """One item of a task: lm-eval task name, position in its test set, hash of its content."""

    leaf: str
    index: int
    key: str


def caps(params: Params) -> dict[Split, int | None]:
    """Items per task at most, by split; None takes all."""
    return {
        "search": params.search.search_items,
        "rerank": params.search.rerank_items,
        "report": params.benchmark.report_items,
    }


def assign(
    task: str,
    items: Sequence[Item],
    *,
    protocol: Literal["split", "paper"],
    fractions: SplitParams,
    limits: Mapping[Split, int | None],
    seed: int,
) -> dict[Split, list[Item]]:
    """Items of each split, in the order of the test set.

    Raises EvaluationError when the task has no items.
    """
    if not items:
        raise EvaluationError(f"{task}: the task has no items; check its test split")
    if protocol == "paper":
        order = _in_turn(items)
        return {name: sorted(order[: limits[name]], key=_place(items)) for name in SPLITS}
    by_key: dict[str, list[Item]] = {}
    for item in items:
        by_key.setdefault(item.key, []).append(item)
    leaves: dict[str, list[str]] = {}
    for key, copies in by_key.items():  # copies in other subtasks follow the first
        leaves.setdefault(copies[0].leaf, []).append(key)
    ranked: dict[Split, list[tuple[float, str]]] = {name: [] for name in SPLITS}
    for leaf, keys in leaves.items():  # a subtask is split alike, alone or in a group
        keys.sort(key=lambda key: (unit_float(seed, "split", leaf, key), key))
        edges = [0, *(round(share * len(keys)) for share in _cumulative(fractions))]
        for name, begin, end in zip(SPLITS, edges, edges[1:], strict=False):
            chosen = keys[begin:end]
            ranked[name] += [((rank + 0.5) / len(chosen), key) for rank, key in enumerate(chosen)]
    return {
        name: sorted(_capped(ranked[name], by_key, limits[name]), key=_place(items))
        for name in SPLITS
    }


def check_untouched(
    reported: Mapping[str, Sequence[Item]], looked_at: Mapping[str, Sequence[Item]]
) -> None:
    """Refuse reported items that a search looks at, in whatever task they stand.

    `reported`: {task: report items}; `looked_at`: {proxy task: its search and rerank items}.
    Raises EvaluationError naming both tasks and the ids.
    """
    for proxy, items in looked_at.items():
        seen = {item.key for item in items}
        for task, report in reported.items():
            shared = sorted({f"{item.leaf}:{item.index}" for item in report if item.key in seen})
            if shared:
                raise EvaluationError(
                    f"protocol split: {len(shared)} reported item(s) of {task} are also searched "
                    f"on in proxy task {proxy}: {', '.join(shared[:5])}"
                    f"{', …' if len(shared) > 5 else ''}. Drop the duplicates from one of the "
                    "tasks, choose another proxy in combinations, or set benchmark.protocol: "
                    "paper, which allows the overlap and says so in every table"
                )


def _cumulative(fractions: SplitParams) -> tuple[float, float, float]:
    two = fractions.search + fractions.rerank
    return fractions.search, two, min(1.0, two + fractions.report)


def _capped(
    ranked: list[tuple[float, str]], by_key: Mapping[str, list[Item]], limit: int | None
) -> list[Item]:
    """The first `limit` items by rank within their subtask: an even draw over subtasks."""
    chosen = [item for _, key in sorted(ranked) for item in by_key[key]]
    return chosen[:limit]


def _in_turn(items: Sequence[Item]) -> list[Item]:
    """First items of all subtasks, then second items, …"""
    turn: dict[str, int] = {}
    numbered = []
    for place, item in enumerate(items):
        turn[item.leaf] = turn.get(item.leaf, -1) + 1
        numbered.append((turn[item.leaf], place, item))
    return [item for _, _, item in sorted(numbered, key=lambda entry: entry[:2])]


def _place(items: Sequence[Item]):
    places = {(item.leaf, item.index): place for place, item in enumerate(items)}
    return lambda item: places[item.leaf, item.index]
