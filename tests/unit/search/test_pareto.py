"""Pareto fronts and their volume: literals, properties, and a live front that survives a cut."""

from __future__ import annotations

import numpy as np
import pytest

from optimer.errors import SearchError
from optimer.search.api import default_settings
from optimer.search.pareto import front, group_scores, hypervolume, live_front

BOUNDS = {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0)}
GROUPS = {"Ja": ["ja"], "Math": ["sum", "word"]}


def score(weights):
    ja = 80 - 100 * (weights["cpt_ja"] - 0.8) ** 2
    number = 70 - 100 * (weights["cpt_ja"] - 0.2) ** 2 - 20 * (weights["it"] - 0.6) ** 2
    return {"ja": ja, "sum": number, "word": number - 10}


def test_front_literal():
    scores = np.array([[3, 1], [1, 3], [2, 2], [1, 1], [2, 2], [3, 0]])
    assert front(scores) == [0, 2, 4, 1]
    assert front(np.array([[5.0], [7.0], [6.0]])) == [1]
    with pytest.raises(SearchError, match="finite scores"):
        front(np.array([[1.0, np.nan]]))


def test_nothing_on_the_front_is_dominated_and_all_else_is():
    scores = np.random.default_rng(0).random((60, 3)).round(1)
    kept = front(scores)
    for row in range(60):
        beaten = ((scores >= scores[row]).all(1) & (scores > scores[row]).any(1)).any()
        assert beaten == (row not in kept)


def test_hypervolume_literals():
    assert hypervolume(np.array([[3, 1], [1, 3], [2, 2]]), [0, 0]) == 6
    assert hypervolume(np.array([[3, 1]]), [1, 2]) == 0
    assert hypervolume(np.array([[1, 1, 1], [2, 1, 1]]), [0, 0, 0]) == 2
    points = np.random.default_rng(1).random((6, 3))
    sample = np.random.default_rng(2).random((200_000, 3))
    inside = (points[None] >= sample[:, None]).all(-1).any(1).mean()
    assert hypervolume(points, [0, 0, 0]) == pytest.approx(inside, abs=0.005)


def test_groups_are_means():
    assert group_scores({"ja": 10, "sum": 20, "word": 40}, GROUPS) == [10, 30]
    with pytest.raises(SearchError, match="task sum was not scored; scored: ja"):
        group_scores({"ja": 1.0}, GROUPS)


@pytest.mark.parametrize("sampler", ["nsga2", "motpe"])
def test_live_front_spans_the_trade_off_and_survives_a_cut(tmp_path, sampler):
    settings = default_settings(sampler=sampler, trials=48, batch=8, n_startup_trials=16)
    whole = live_front(BOUNDS, score, GROUPS, settings)
    ja, math = zip(*(point.scores.values() for point in whole), strict=True)
    assert len(whole) >= 4
    assert list(ja) == sorted(ja, reverse=True) and list(math) == sorted(math)
    assert max(ja) - min(ja) > 5
    calls = []

    def dies(weights):
        calls.append(weights)
        if len(calls) == 21:
            raise KeyboardInterrupt
        return score(weights)

    journal = tmp_path / "journal.log"
    with pytest.raises(KeyboardInterrupt):
        live_front(BOUNDS, dies, GROUPS, settings, journal=journal)
    assert live_front(BOUNDS, score, GROUPS, settings, journal=journal) == whole


def test_other_samplers_and_hopeless_studies_are_refused():
    with pytest.raises(SearchError, match="needs sampler nsga2 or motpe, got tpe"):
        live_front(BOUNDS, score, GROUPS, default_settings())
    settings = default_settings(sampler="motpe", trials=4, batch=4, top_k=1)
    with pytest.raises(SearchError, match="no trial of the Pareto study gave finite scores"):
        live_front(
            BOUNDS, lambda w: {"ja": float("nan"), "sum": 1.0, "word": 1.0}, GROUPS, settings
        )
