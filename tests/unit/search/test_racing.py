"""Racing: blocks, the critical value, the decision, and a raced study."""

from __future__ import annotations

import numpy as np
import pytest

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search import racing
from optimer.search.api import search
from optimer.search.trial import Outcome, Stopped

IDS = {"sum": [f"sum/{n}" for n in range(60)], "gen": [f"gen/{n}" for n in range(40)]}


def records(values, ids=IDS, **options):
    return {
        task: ItemScores(100 * float(np.mean(values[task])), list(names),
                         np.array(values[task], dtype=np.float32), **options)
        for task, names in ids.items()
    }  # fmt: skip


def part(whole, block):
    found = {}
    for task, names in block.items():
        record = whole[task]
        places = [at for at, name in enumerate(record.ids) if name in names]
        found[task] = ItemScores(
            0.0, [record.ids[at] for at in places], record.values[places], scale=record.scale,
            pooled=record.pooled,
        )  # fmt: skip
    return found


def test_blocks_hold_each_item_once_and_every_task():
    blocks = racing.deal(IDS, 10, seed=3)
    assert [(len(b["sum"]), len(b["gen"])) for b in blocks] == [(6, 4)] * 10
    for task, names in IDS.items():
        assert sorted(name for b in blocks for name in b[task]) == sorted(names)
    assert racing.deal(IDS, 10, seed=3) == blocks != racing.deal(IDS, 10, seed=4)
    short = racing.deal({"a": ["a/0", "a/1", "a/2"], "b": ["b/0"]}, 5, seed=0)
    assert [set(b) for b in short] == [{"a", "b"}, {"a"}, {"a"}]


def test_critical_value_of_one_look_and_of_many():
    assert racing.critical((0.5,), 0.05) == pytest.approx(1.6449, abs=1e-3)
    assert racing.critical(tuple(k / 5 for k in range(1, 5)), 0.05) == pytest.approx(
        2.151, abs=2e-3
    )
    draws = np.random.default_rng(0).normal(size=(100_000, 9))
    times = np.array([x / (1 - x) for x in np.arange(1, 10) / 10])
    paths = np.cumsum(draws * np.sqrt(np.diff(times, prepend=0)), axis=1) / np.sqrt(times)
    c = racing.critical(tuple(k / 10 for k in range(1, 10)), 0.05)
    assert (paths.min(axis=1) < -c).mean() == pytest.approx(0.05, abs=0.003)


def test_false_stops_stay_below_what_was_asked():
    """Trials with exactly the incumbent's score, 10 % of items different, in random places."""
    generator = np.random.default_rng(1)
    stopped = 0
    for trial in range(400):
        first = {task: generator.integers(0, 2, len(names)) for task, names in IDS.items()}
        second = {}
        for task, values in first.items():
            other = values.copy()
            ones, zeros = np.flatnonzero(values == 1), np.flatnonzero(values == 0)
            n = min(len(values) // 20, len(ones), len(zeros))
            other[generator.choice(ones, n, replace=False)] = 0
            other[generator.choice(zeros, n, replace=False)] = 1
            second[task] = other
        best, whole = records(first), records(second)
        blocks = racing.deal(IDS, 10, trial)
        found = racing.race(lambda block, w=whole: part(w, block), best, 50.0, blocks, 0.05)
        stopped += found.stopped
    assert stopped / 400 < 0.05


def test_a_hopeless_trial_is_stopped_early_and_told_below_the_incumbent():
    best = records({"sum": [1] * 60, "gen": [1] * 40})
    whole = records({"sum": [0] * 60, "gen": [1, 0] * 20})
    blocks = racing.deal(IDS, 10, 0)
    found = racing.race(lambda block: part(whole, block), best, 100.0, blocks, 0.05)
    assert found.stopped and found.n_seen == 10
    assert found.estimate < 60
    assert {len(r.ids) for r in found.records.values()} == {6, 4}


def test_a_trial_that_is_not_stopped_has_the_whole_score():
    generator = np.random.default_rng(2)
    best = records({task: generator.integers(0, 2, len(ids)) for task, ids in IDS.items()})
    blocks = racing.deal(IDS, 10, 0)
    found = racing.race(lambda block: part(best, block), best, 50.0, blocks, 0.05)
    assert not found.stopped and found.n_seen == 100
    assert found.estimate == pytest.approx(np.mean([r.percent for r in best.values()]))
    for task, record in found.records.items():
        assert record.ids == best[task].ids
        assert record.values.tolist() == best[task].values.tolist()
        assert record.percent == pytest.approx(best[task].percent, abs=1e-12)


def test_a_mean_over_subtasks_weighs_items_by_subtask():
    ids = ["a/0", "a/1", "a/2", "b/0"]
    values = np.array([1, 1, 1, 0], dtype=np.float32)
    record = ItemScores(50.0, ids, values, pooled=False)
    assert racing.percentages(record).mean() == pytest.approx(50.0)
    racing.check_linear({"t": record})
    with pytest.raises(SearchError, match="the score of t is no mean over its items"):
        racing.check_linear({"t": ItemScores(12.0, ids, values)})


POOL = ["it", "cpt_ja"]
DRAW = np.random.default_rng(0).random(100)


def answers(weights):
    """100 items whose chance of a right answer depends on the weights."""
    level = 0.9 - 0.6 * abs(weights["cpt_ja"] - 0.4) - 0.3 * abs(weights["it"] - 0.6)
    right = (level > DRAW).astype(int)
    return records({"sum": right[:60], "gen": right[60:]})


def full(weights):
    found = answers(weights)
    return Outcome({task: record.percent for task, record in found.items()}, items=found)


def test_a_raced_study_needs_fewer_items_and_finds_the_same(tmp_path):
    blocks = racing.deal(IDS, 10, 0)
    seen = []

    def raced(weights, best):
        if best is None:
            seen.append(100)
            return full(weights)
        whole = answers(weights)
        found = racing.race(
            lambda block: part(whole, block), best.items, best.objective, blocks, 0.05
        )
        seen.append(found.n_seen)
        stop = Stopped(found.n_seen, 100, best.number, found.estimate) if found.stopped else None
        scores = {task: record.percent for task, record in found.records.items()}
        return Outcome(scores, stopped=stop, items=found.records)

    options = {"trials": 48, "batch": 8, "n_startup_trials": 16}
    plain = search(POOL, full, **options)
    found = search(
        POOL, full, race=raced, racing={"enabled": True}, journal=tmp_path / "study.log", **options
    )  # fmt: skip
    stopped = [trial for trial in found.trials if trial.state == "stopped"]
    assert stopped and sum(seen) < 0.8 * 4800
    assert found.best.outcome.objective >= plain.best.outcome.objective - 2
    best_so_far = max(t.outcome.objective for t in found.trials if t.state == "complete")
    assert all(trial.outcome.objective < best_so_far for trial in stopped)
    assert found.best.state == "complete"
    for trial in found.trials[8:]:  # against finished batches only
        if trial.outcome.stopped:
            assert trial.outcome.stopped.incumbent < trial.batch * 8


def test_racing_needs_an_engine_that_scores_blocks():
    with pytest.raises(SearchError, match=r"racing needs an engine.*racing.enabled: false"):
        search(POOL, full, trials=4, batch=4, racing={"enabled": True})
