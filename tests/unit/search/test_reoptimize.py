"""New objectives from recorded trials: parsing, choice under constraints, verification."""

from __future__ import annotations

import time

import numpy as np
import pytest

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search.api import search
from optimer.search.export import trials_csv
from optimer.search.itemstore import ItemStore
from optimer.search.recorded import recorded
from optimer.search.reoptimize import Objective, answer, verify
from optimer.search.trial import Outcome

BOUNDS = {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0), "cpt_math": (0.0, 1.0)}
LEVEL = np.random.default_rng(0).normal(0, 0.3, 80)


def items_of(weights) -> dict[str, ItemScores]:
    """`ja` wants cpt_ja at 0.8 and `sum` wants cpt_math at 0.7; each hurts the other."""
    found = {}
    for task, own, other, best in (
        ("ja", "cpt_ja", "cpt_math", 0.8),
        ("sum", "cpt_math", "cpt_ja", 0.7),
    ):
        level = 0.6 - 2 * (weights[own] - best) ** 2 - 0.5 * weights[other] + 0.2 * weights["it"]
        margin = (level + LEVEL).astype(np.float32)
        values = (margin > 0).astype(np.float32)
        choices = np.stack([margin, np.zeros_like(margin)], 1)
        found[task] = ItemScores(float(100 * values.mean()), [f"{task}/{n}" for n in range(80)],
                                 values, choices, np.zeros(80, np.int16))  # fmt: skip
    return found


def score_of(weights) -> Outcome:
    items = items_of(weights)
    return Outcome({task: record.percent for task, record in items.items()}, items=items)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """trials.csv and item folder of a finished study of 40 trials, as a search leaves them."""
    folder = tmp_path_factory.mktemp("study")
    found = search(
        list(BOUNDS), score_of, trials=40, sampler="qmc", journal=folder / "live" / "journal.log"
    )
    (folder / "trials.csv").write_text(trials_csv(found.trials))
    return folder / "trials.csv", folder / "live" / "items"


def test_objectives_are_read_as_written():
    both = Objective.parse("ja:3, sum", ["ja>=20", "sum <= 55.5"])
    assert (both.weights, both.at_least, both.at_most) == (
        {"ja": 3.0, "sum": 1.0}, {"ja": 20.0}, {"sum": 55.5},
    )  # fmt: skip
    assert both.value({"ja": 40.0, "sum": 80.0}) == 50.0
    assert both.allows({"ja": 20.0, "sum": 55.5})
    assert not both.allows({"ja": 19.9, "sum": 50.0})
    assert Objective.parse("gsm8k=2").weights == {"gsm8k": 2.0}


@pytest.mark.parametrize("text", ["", "ja:", "ja:-1", "ja:0", "ja sum", "ja;sum"])
def test_a_bad_objective_is_named(text):
    with pytest.raises(SearchError, match="no task or task:weight"):
        Objective.parse(text)


def test_a_bad_constraint_is_named():
    with pytest.raises(SearchError, match=r"constraint 'ja>20': write task>=score"):
        Objective.parse("ja", ["ja>20"])


def test_recorded_study_comes_back_whole(finished):
    found = recorded(*finished, BOUNDS)
    assert (len(found.numbers), found.tasks) == (40, ["ja", "sum"])
    assert found.items is not None
    for weights, scores in zip(found.weights, found.scores, strict=True):
        for task, record in items_of(weights).items():
            assert scores[task] == pytest.approx(record.percent, abs=1e-3)
    assert {data.kind for data in found.data(found.tasks).values()} == {"margin"}


def test_without_item_records_the_scores_still_answer(finished, tmp_path):
    found = recorded(finished[0], tmp_path / "nothing", BOUNDS)
    assert found.items is None
    store = ItemStore(tmp_path / "items" / "other-study")
    store.write(0, "search", items_of(found.weights[3]))  # of another trial: not taken
    assert recorded(finished[0], tmp_path / "items", BOUNDS).items is None
    assert answer(found, Objective.parse("ja")).scores["ja"] > 80


def test_one_file_of_records_does_as_well(finished, tmp_path):
    trials, folder = finished
    file = tmp_path / "items.parquet"
    ItemStore(next(folder.iterdir())).compact(file)
    one, other = recorded(trials, folder, BOUNDS), recorded(trials, file, BOUNDS)
    assert other.items is not None
    assert answer(one, Objective.parse("ja")) == answer(other, Objective.parse("ja"))


@pytest.mark.parametrize("text, vector", [("ja", "cpt_ja"), ("sum", "cpt_math")])
def test_each_objective_gets_its_own_weights_within_a_second_or_so(finished, text, vector):
    found = recorded(*finished, BOUNDS)
    begun = time.process_time()
    got = answer(found, Objective.parse(text))
    assert time.process_time() - begun < 5
    best = max(scores[text] for scores in found.scores)
    assert got.scores[text] > best - 3
    assert got.number in found.numbers
    other = next(name for name in ("cpt_ja", "cpt_math") if name != vector)
    assert got.weights[vector] > got.weights[other]
    assert len(got.proposals) == 3
    assert len({tuple(point.values()) for point in got.proposals}) == 3
    for point in got.proposals:
        assert point[vector] > point[other]
        assert all(low <= point[name] <= high for name, (low, high) in BOUNDS.items())


def test_expected_is_less_optimistic_than_the_best_score(finished):
    found = recorded(*finished, BOUNDS)
    got = answer(found, Objective.parse("ja,sum"))
    assert abs(got.expected - Objective.parse("ja,sum").value(got.scores)) < 6
    assert got.deviation > 0


def test_constraints_are_kept(finished):
    found = recorded(*finished, BOUNDS)
    free = answer(found, Objective.parse("ja"))
    bound = free.scores["sum"] + 10
    held = answer(found, Objective.parse("ja", [f"sum>={bound}"]))
    assert held.scores["sum"] >= bound
    assert held.scores["ja"] <= free.scores["ja"] + 3
    with pytest.raises(SearchError, match=r"no trial satisfies ja>=101 \(best \d+.*relax"):
        answer(found, Objective.parse("ja", ["ja>=101"]))


def test_verification_improves_on_the_records(finished):
    found = recorded(*finished, BOUNDS)
    objective = Objective.parse("ja,sum")
    first = answer(found, objective)
    second, more = verify(found, objective, first.proposals, items_of)
    assert len(more.numbers) == 43 and more.numbers[-1] == 42
    assert objective.value(second.scores) >= objective.value(first.scores) - 1
    assert max(map(objective.value, more.scores)) > max(map(objective.value, found.scores))


def test_errors_say_what_to_do(finished, tmp_path):
    found = recorded(*finished, BOUNDS)
    with pytest.raises(SearchError, match=r"task gsm8k was not scored.*have ja, sum"):
        answer(found, Objective.parse("gsm8k"))
    with pytest.raises(SearchError, match="no finished search here; run `optimer search` first"):
        recorded(tmp_path / "trials.csv", None, BOUNDS)
    with pytest.raises(SearchError, match="params say it, cpt_ja; run the search again"):
        recorded(finished[0], None, {name: BOUNDS[name] for name in ("it", "cpt_ja")})
    few = tmp_path / "few.csv"
    few.write_text("\n".join(finished[0].read_text().splitlines()[:4]) + "\n")
    with pytest.raises(SearchError, match="3 complete trials are too few"):
        recorded(few, None, BOUNDS)
