"""Samplers by name: literals, purity in (stored trials, seed, batch, place), quality, errors."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState

from optimer.errors import SearchError
from optimer.evaluation.itemscores import ItemScores
from optimer.search.api import default_settings
from optimer.search.itemstore import ItemStore
from optimer.search.samplers import MULTI_OBJECTIVE, NAMES, known_points, make
from optimer.search.samplers.counted import gamma
from optimer.search.samplers.points import from_unit, sobol, sobol_unit, to_unit
from optimer.search.samplers.proposer import History, Seen
from optimer.search.samplers.simple import grid_points
from optimer.search.samplers.surface import SurfaceProposal

BOUNDS = {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0), "cpt_math": (-0.5, 1.0)}
PEAK = {"it": 0.6, "cpt_ja": 0.2, "cpt_math": 0.8}
SPACE: dict = {name: FloatDistribution(*limits) for name, limits in BOUNDS.items()}


def hill(weights) -> float:
    return 90 - 100 * sum((weights[name] - best) ** 2 for name, best in PEAK.items())


def slope(weights, step):
    return hill(weights), {name: -200 * (weights[name] - best) for name, best in PEAK.items()}


def study_of(name, *, batch=4, seed=0, store=None, **overrides):
    settings = default_settings(
        sampler=name, batch=batch, trials=60, n_startup_trials=8, **overrides
    )
    sampler = make(settings, seed, "study", BOUNDS, store, slope)
    directions = ["maximize", "maximize"] if name in MULTI_OBJECTIVE else ["maximize"]
    return optuna.create_study(directions=directions, sampler=sampler)


def run(study, n, batch=4, told=None):
    """Ask and tell batch by batch; `told` runs after each ask."""
    for first in range(0, n, batch):
        trials = [study.ask(fixed_distributions=SPACE) for _ in range(min(batch, n - first))]
        for trial in trials:
            value = hill(trial.params)
            several = len(study.directions) > 1
            study.tell(trial, [value, -trial.params["it"]] if several else value)
            if told:
                told(trial)
    return [dict(trial.params) for trial in study.trials]


@pytest.mark.parametrize("name", [*NAMES, *MULTI_OBJECTIVE])
def test_proposals_are_reproducible_in_bounds_and_seeded(name):
    first, again = run(study_of(name), 14), run(study_of(name), 14)
    other = run(study_of(name, seed=1), 14)
    assert first == again
    if name not in ("gradient",):  # its first ascent starts where the paper's weights are
        assert first != other
    assert len({tuple(point.values()) for point in first}) == 14
    for point in first:
        for weight, (low, high) in zip(point.values(), BOUNDS.values(), strict=True):
            assert low <= weight <= high


@pytest.mark.parametrize("name", [*NAMES, "motpe"])
def test_a_resumed_study_proposes_what_the_first_one_did(name):
    """A fresh sampler on a copy cut at any trial gives the same next trial."""
    whole = study_of(name)
    points = run(whole, 12)
    for cut in (3, 4, 8, 10):
        again = study_of(name)
        first = cut - cut % 4  # batches before this one are told, its own trials still run
        for trial in whole.trials[:cut]:
            state = TrialState.COMPLETE if trial.number < first else TrialState.RUNNING
            values = trial.values if state == TrialState.COMPLETE else None
            again.add_trial(optuna.trial.create_trial(
                state=state, values=values, params=trial.params, distributions=SPACE,
                system_attrs=trial.system_attrs,
            ))  # fmt: skip
        assert again.ask(fixed_distributions=SPACE).params == points[cut], cut


@pytest.mark.parametrize("name", ["cmaes", "surface", "qmc", "grid"])
def test_failed_trials_and_told_neighbours_change_nothing(name):
    """Own samplers look at earlier batches alone, and not at trials that failed."""
    whole = study_of(name)
    points = run(whole, 12)
    again = study_of(name)
    for trial in whole.trials[:10]:
        again.add_trial(optuna.trial.create_trial(
            state=TrialState.COMPLETE, values=trial.values, params=trial.params, distributions=SPACE
        ))  # fmt: skip
    assert again.ask(fixed_distributions=SPACE).params == points[10]
    failed = study_of(name)
    for trial in whole.trials[:12]:
        state = TrialState.FAIL if trial.number == 2 else TrialState.COMPLETE
        failed.add_trial(optuna.trial.create_trial(
            state=state, values=None if trial.number == 2 else trial.values, params=trial.params,
            distributions=SPACE,
        ))  # fmt: skip
    point = failed.ask(fixed_distributions=SPACE).params
    assert all(np.isfinite(list(point.values())))


@pytest.mark.parametrize("name", ["tpe", "tpe_multivariate", "gp", "cmaes", "surface", "gradient"])
def test_searching_beats_random_points(name):
    random = max(map(hill, run(study_of("random"), 40)))
    assert max(map(hill, run(study_of(name), 40))) > random


def test_surface_needs_few_trials():
    assert max(map(hill, run(study_of("surface"), 20))) > 89.5


def test_surface_of_many_trials_is_a_function_of_them():
    """Hyperparameters that are kept for some trials do not depend on when a process began."""
    whole = study_of("surface", batch=1)
    points = run(whole, 51, batch=1)
    again = study_of("surface", batch=1)
    for trial in whole.trials[:50]:
        again.add_trial(trial)
    assert again.ask(fixed_distributions=SPACE).params == points[50]


def test_surface_reads_item_records(tmp_path):
    """Items whose margins carry the hill lead to it although right and wrong are coarse."""
    level = np.linspace(-40, 40, 50)

    def record(weights):
        margin = (hill(weights) - 70 + level).astype(np.float32) / 10
        choices = np.stack([margin, np.zeros_like(margin)], 1)
        values = (margin > 0).astype(np.float32)
        ids = [f"t/{place}" for place in range(50)]
        return {"t": ItemScores(float(100 * values.mean()), ids, values, choices,
                                np.zeros(50, np.int16))}  # fmt: skip

    store = ItemStore(tmp_path)
    study = study_of("surface", batch=1, store=store)
    for number in range(18):
        trial = study.ask(fixed_distributions=SPACE)
        store.write(number, "search", record(trial.params))
        study.tell(trial, record(trial.params)["t"].percent)
    assert max(hill(trial.params) for trial in study.trials) > 89.5


def test_gradient_start_leads_any_sampler():
    points = run(study_of("qmc", gradient={"start": True, "steps": 40, "rate": 0.1}), 4)
    assert hill(points[0]) > 89.5
    assert points[1:] == run(study_of("qmc"), 4)[1:]
    known = study_of("qmc", known_points=True, gradient={"start": True, "steps": 40, "rate": 0.1})
    assert hill(run(known, 8)[5]) > 89.5  # four known points, one place for the last winner


def test_known_points_literal():
    bounds = {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0), "cpt_math": (0.0, 1.0)}
    last = {"it": 0.7, "cpt_ja": 1.4, "cpt_code": 0.3}
    assert known_points(bounds, [last, {"it": 1.0}]) == [
        {"it": 1.0, "cpt_ja": 0.0, "cpt_math": 0.0},
        {"it": 0.6, "cpt_ja": 0.6, "cpt_math": 0.0},
        {"it": 0.6, "cpt_ja": 0.0, "cpt_math": 0.6},
        {"it": 1 / 3, "cpt_ja": 1 / 3, "cpt_math": 1 / 3},
        {"it": 0.7, "cpt_ja": 1.0, "cpt_math": 0.0},
    ]  # the second of `previous` is IT alone again
    tight = known_points({"it": (0.5, 0.9), "cpt_ja": (0.1, 0.4)})
    assert tight[:2] == [{"it": 0.9, "cpt_ja": 0.1}, {"it": 0.6, "cpt_ja": 0.4}]


def test_sobol_points_are_a_prefix_and_spread():
    np.testing.assert_array_equal(sobol_unit(4, 5, 7), sobol_unit(4, 64, 7)[:5])
    assert not np.array_equal(sobol_unit(4, 5, 7), sobol_unit(4, 5, 8))
    counts = np.histogram(sobol_unit(4, 64, 7)[:, 2], bins=8, range=(0, 1))[0]
    assert list(counts) == [8] * 8
    points = sobol(BOUNDS, 3, 0)
    np.testing.assert_allclose(to_unit(BOUNDS, points[1]), sobol_unit(3, 3, 0)[1])
    assert from_unit(BOUNDS, [1.0, 0.0, 1 / 3]) == {"it": 1.0, "cpt_ja": 0.0, "cpt_math": 0.0}


def test_grid_sizes_are_what_is_documented():
    corners = {tuple(point) for point in grid_points(4, 16, 0)}
    assert corners == {tuple(map(float, np.binary_repr(k, 4))) for k in range(16)}
    assert {tuple(point) for point in grid_points(4, 81, 0)} == {
        (a, b, c, d) for a in (0, 0.5, 1) for b in (0, 0.5, 1) for c in (0, 0.5, 1)
        for d in (0, 0.5, 1)
    }  # fmt: skip
    assert len({tuple(point) for point in grid_points(4, 625, 3)}) == 625
    assert not np.array_equal(grid_points(4, 16, 0), grid_points(4, 16, 1))
    with pytest.raises(
        SearchError, match=r"10 weights have 59049 grid points.*lower search.trials"
    ):
        grid_points(10, 60_000, 0)


def test_gamma_is_optunas_rule():
    assert [gamma(0.1)(n) for n in (1, 10, 11, 100, 400)] == [1, 1, 2, 10, 25]


def test_a_missing_gradient_says_what_to_do():
    for overrides in ({"sampler": "gradient"}, {"gradient": {"start": True}}):
        with pytest.raises(SearchError, match=r"need a live model.*backend: hf.*another sampler"):
            make(default_settings(**overrides), 0, "study", BOUNDS)


def test_unknown_name_is_refused():
    settings = default_settings().model_copy(update={"sampler": "tppe"})
    with pytest.raises(
        SearchError, match="must be one of random, tpe, .*surface, nsga2, motpe; got 'tppe'"
    ):
        make(settings, 0, "study", BOUNDS)


@pytest.mark.parametrize("name", MULTI_OBJECTIVE)
def test_two_objectives_give_a_front(name):
    study = study_of(name, batch=8)
    run(study, 48, batch=8)
    front = sorted(trial.values for trial in study.best_trials)
    assert len(front) >= 3
    assert [b for _, b in front] == sorted((b for _, b in front), reverse=True)


def test_surface_takes_trials_that_racing_stopped_as_tried(tmp_path):
    """A partial record is no design: its point is pending, the surface that of the others."""
    store = ItemStore(tmp_path)
    unit = sobol_unit(3, 10, 0)
    for number in range(10):
        n = 20 if number == 4 else 40
        margin = (unit[number].sum() - 1.5 + np.linspace(-1, 1, n)).astype(np.float32)
        values = (margin > 0).astype(np.float32)
        choices = np.stack([margin, np.zeros(n, np.float32)], 1)
        record = ItemScores(float(100 * values.mean()), [f"t/{i}" for i in range(n)], values,
                            choices, np.zeros(n, np.int16))  # fmt: skip
        store.write(number, "search", {"t": record})
    seen = [Seen(number, unit[number], 50.0) for number in range(10)]
    proposal = SurfaceProposal(default_settings().surface, 0, store)
    whole, raced = proposal._split(seen)
    assert [item.number for item in raced] == [4]
    assert proposal.surface(whole)._tasks["t"].data.kind == "margin"
    point = proposal(History(BOUNDS, 10, 1, seen, []))
    without = proposal(History(BOUNDS, 10, 1, whole, [unit[4]]))
    np.testing.assert_array_equal(point, without)
