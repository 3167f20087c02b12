"""Splits: disjoint, seeded, sized, duplicates together, groups spread, overlap refused."""

from __future__ import annotations

import pytest

from optimer.errors import EvaluationError
from optimer.evaluation.splits import SPLITS, Item, assign, check_untouched
from optimer.schema.benchmark import SplitParams

FRACTIONS = SplitParams(search=0.2, rerank=0.2, report=0.6)
LITERAL = {"search": [0, 1], "rerank": [3, 8], "report": [2, 4, 5, 6, 7, 9]}
OPEN = {"search": None, "rerank": None, "report": None}


def numbered(n: int, leaf: str = "task") -> list[Item]:
    return [Item(leaf, i, f"{leaf}-{i}") for i in range(n)]


def split(items, protocol="split", limits=OPEN, seed=0, fractions=FRACTIONS):
    return assign("task", items, protocol=protocol, fractions=fractions, limits=limits, seed=seed)


def test_fractions_of_humaneval_and_mgsm():
    for n, sizes in ((164, [33, 33, 98]), (250, [50, 50, 150]), (5, [1, 1, 3])):
        found = split(numbered(n))
        assert [len(found[name]) for name in SPLITS] == sizes
        chosen = [item for name in SPLITS for item in found[name]]
        assert sorted(chosen) == numbered(n)  # every item once


def test_literal_split_is_stable_across_machines():
    found = split(numbered(10))
    assert {name: [item.index for item in found[name]] for name in SPLITS} == LITERAL


def test_seed_and_subtask_decide():
    items = numbered(100)
    assert split(items) == split(items)
    assert split(items)["search"] != split(items, seed=1)["search"]
    other = split([Item("other", item.index, item.key) for item in items])
    assert [i.index for i in other["search"]] != [i.index for i in split(items)["search"]]


def test_a_subtask_is_split_alike_alone_and_in_a_group():
    alone, grouped = split(numbered(50, "a")), split(numbered(50, "a") + numbered(50, "b"))
    for name in SPLITS:
        assert alone[name] == [item for item in grouped[name] if item.leaf == "a"]


def test_caps_take_a_part_and_stay_disjoint():
    found = split(numbered(1000), limits={"search": 100, "rerank": 300, "report": 250})
    assert [len(found[name]) for name in SPLITS] == [100, 200, 250]
    assert len({item for name in SPLITS for item in found[name]}) == 550
    whole = split(numbered(1000))
    assert set(found["search"]) < set(whole["search"])


def test_duplicates_stay_in_one_split():
    items = [Item("task", i, f"key-{i // 4}") for i in range(400)]
    found = split(items)
    where = {}
    for name in SPLITS:
        for item in found[name]:
            where.setdefault(item.key, set()).add(name)
    assert len(where) == 100
    assert all(len(names) == 1 for names in where.values())


def test_duplicates_across_subtasks_stay_in_one_split():
    items = numbered(50, "a") + [Item("b", i, f"a-{i}") for i in range(50)]
    found = split(items)
    keys = [{item.key for item in found[name]} for name in SPLITS]
    assert not (keys[0] & keys[1] or keys[0] & keys[2] or keys[1] & keys[2])
    assert len(found["search"]) == 20


def test_groups_are_spread_over_their_subtasks():
    items = [item for leaf in "abcd" for item in numbered(100, leaf)]
    found = split(items, limits={"search": 12, "rerank": None, "report": None})
    assert [item.leaf for item in found["search"]] == [*"aaabbbcccddd"]


def test_paper_protocol_takes_the_first_items_and_reports_all():
    limits = {"search": 3, "rerank": 6, "report": None}
    found = split(numbered(20), "paper", limits)
    assert [item.index for item in found["search"]] == [0, 1, 2]
    assert [item.index for item in found["rerank"]] == [0, 1, 2, 3, 4, 5]
    assert len(found["report"]) == 20
    grouped = split(numbered(9, "a") + numbered(9, "b"), "paper", limits)
    assert [(item.leaf, item.index) for item in grouped["search"]] == [("a", 0), ("a", 1), ("b", 0)]


def test_reported_items_a_search_looks_at_are_refused():
    search = {"gsm8k": [Item("gsm8k", 3, "same"), Item("gsm8k", 4, "x")]}
    check_untouched({"mgsm": [Item("mgsm", 8, "other")]}, search)
    with pytest.raises(EvaluationError) as caught:
        check_untouched({"mgsm": [Item("mgsm", 8, "same")]}, search)
    text = str(caught.value)
    assert "1 reported item(s) of mgsm are also searched on in proxy task gsm8k: mgsm:8" in text
    assert "benchmark.protocol: paper" in text


def test_a_task_without_items_is_refused():
    with pytest.raises(EvaluationError, match="task: the task has no items"):
        split([])
