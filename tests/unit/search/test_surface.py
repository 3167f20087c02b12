"""The item response surface: its maths against finite differences, literals and a made-up world."""

from __future__ import annotations

import time

import numpy as np
import pytest
from scipy.stats import norm

from optimer.evaluation.itemscores import ItemScores
from optimer.schema.search import SurfaceParams
from optimer.search.gaussian import Kernel, Posterior, fit, log_likelihood
from optimer.search.samplers.surface import propose
from optimer.search.surface import Surface, TaskData, task_data

SETTINGS = SurfaceParams(n_initial=2, acquisition="improvement", exploration=1.0)


PEAK = np.array([0.3, 0.7, 0.2, 0.5])
_DRAW = np.random.default_rng(5)
_SLOPES, _LEVEL = _DRAW.normal(0, 1, (4, 100)), _DRAW.normal(0.5, 1.5, 100)


def margins_at(points):
    """[n, 100] margins of a made-up task whose score is highest near PEAK."""
    away = np.atleast_2d(points) - PEAK
    return _LEVEL - 6 * (away**2).sum(1)[:, None] + 0.3 * np.sin(3 * away @ _SLOPES)


def truth(points):
    return 100 * (margins_at(points) > 0).mean(1)


def margin_task(margins):
    return {"t": TaskData("margin", margins, np.full(100, 1.0), 0.0)}


def world(n: int):
    """n random points and their margins with a little roughness."""
    draw = np.random.default_rng(6)
    points = draw.random((n, 4))
    return points, margins_at(points) + draw.normal(0, 0.05, (n, 100))


def choices(loglikelihoods, gold, values=None) -> ItemScores:
    table = np.array(loglikelihoods, np.float32)
    right = np.nanargmax(table, 1) == gold if values is None else np.array(values)
    ids = [f"t/{row}" for row in range(len(table))]
    score = float(100 * right.mean())
    return ItemScores(score, ids, right.astype(np.float32), table, np.array(gold, np.int16))


def test_kernel_literals():
    kernel = Kernel(np.array([0.5, 2.0]), 3.0)
    left, right = np.array([[0.0, 0.0]]), np.array([[0.5, 1.0]])
    # exp(-(1 + 0.25)/2) + 3 ((1 + (0 - 1)/2)/2)^2
    assert kernel(left, right)[0, 0] == pytest.approx(np.exp(-0.625) + 3 * 0.0625)
    points = np.random.default_rng(0).random((5, 2))
    np.testing.assert_allclose(kernel.diagonal(points), np.diag(kernel(points, points)))
    assert np.linalg.eigvalsh(kernel(points, points)).min() > -1e-9


def test_marginal_likelihood_and_its_derivative():
    draw = np.random.default_rng(1)
    points, outputs = draw.random((7, 2)), draw.normal(size=(7, 3))
    shared = Kernel(np.array([0.4, 0.9]), 0.5)(points, points)
    value, slope = log_likelihood(shared, 0.1, outputs)
    covariance = shared + (0.1 + 1e-8) * np.eye(7)
    variance = np.trace(outputs.T @ np.linalg.solve(covariance, outputs)) / 21
    by_definition = -0.5 * (3 * np.linalg.slogdet(covariance)[1] + 21 * np.log(variance))
    assert value == pytest.approx(by_definition)
    for row, column in ((0, 0), (2, 5)):
        nudge = np.zeros((7, 7))
        nudge[row, column] = nudge[column, row] = 1e-5
        up, down = (log_likelihood(shared + s * nudge, 0.1, outputs)[0] for s in (1, -1))
        expected = slope[row, column] + (slope[column, row] if row != column else 0)
        assert (up - down) / 2e-5 == pytest.approx(expected, rel=1e-4)


def test_fit_finds_which_weight_matters_and_how_noisy_a_task_is():
    draw = np.random.default_rng(2)
    points = draw.random((60, 2))
    smooth = np.sin(5 * points[:, :1] + draw.random(30) * 6)
    noisy = smooth[:, :10] + draw.normal(0, 0.7, (60, 10))
    kernel, noise = fit(points, [smooth - smooth.mean(0), noisy - noisy.mean(0)])
    again = fit(points, [smooth - smooth.mean(0), noisy - noisy.mean(0)])
    assert kernel.scales[1] > 3 * kernel.scales[0]
    assert noise[1] > 20 * noise[0]
    assert np.array_equal(kernel.scales, again[0].scales)  # deterministic


def test_posterior_interpolates_and_forgets():
    points = np.array([[0.1, 0.2], [0.5, 0.9], [0.8, 0.3]])
    outputs = np.array([[1.0, -2.0], [0.5, 0.0], [-1.5, 2.0]])
    exact = Posterior.of(Kernel(np.array([0.3, 0.3]), 0.1), points, outputs, 1e-8)
    np.testing.assert_allclose(exact.mean(points), outputs, atol=1e-5)
    assert exact.spread(points).max() < 1e-6
    assert exact.spread(np.array([[0.0, 1.0]]))[0] > 0.5


def test_pending_points_lower_the_uncertainty_and_leave_the_mean():
    points = np.random.default_rng(3).random((8, 4))
    surface = Surface(points, margin_task(margins_at(points)))
    here = np.array([[0.5, 0.5, 0.5, 0.5]])
    mean, spread = surface.score(here)
    mean_after, spread_after = surface.score(here, here)
    assert mean_after == pytest.approx(mean)
    assert spread_after < 0.7 * spread


def test_margins_of_choices():
    one = choices([[-1, -2, -4], [-3, -1, np.nan]], [0, 0])
    two = choices([[-2, -1, -4], [-1, -3, np.nan]], [0, 0])
    data = task_data([one, two])
    assert data.kind == "margin"
    np.testing.assert_allclose(data.outputs, [[1, -2], [-1, 2]])
    np.testing.assert_allclose(data.weights, [50, 50])


def test_items_that_never_change_are_constants():
    one = choices([[-1, -2], [-1, -3], [-4, -3]], [0, 0, 0])
    two = choices([[-2, -1], [-1, -3], [-4, -3]], [0, 0, 0])
    data = task_data([one, two])
    assert data.outputs.shape == (2, 1)
    assert data.constant == pytest.approx(100 / 3)  # the second item is always right


@pytest.mark.parametrize("why", ["metric", "gold", "generated", "percent"])
def test_what_margins_cannot_explain_is_modelled_as_a_total(why):
    values = [0, 1] if why == "metric" else None  # acc_norm turns some answers round
    records = [choices([[-1, -2], [-3, -4]], [0, 0], values), choices([[-1, -3], [-3, -5]], [0, 0])]
    if why == "gold":
        records[0].gold[1] = records[1].gold[1] = -1
    if why == "generated":
        records = [ItemScores(r.percent, r.ids, r.values) for r in records]
    if why == "percent":
        records[0] = ItemScores(12.0, records[0].ids, records[0].values, *(
            records[0].choices, records[0].gold))  # fmt: skip
    data = task_data(records)
    assert data.kind == "total"
    np.testing.assert_allclose(data.outputs[:, 0], [r.percent for r in records])


def test_score_of_margins_is_the_probability_that_gold_wins():
    points = np.array([[0.2], [0.8], [0.5]])
    margins = np.array([[2.0, -2.0], [2.2, -1.0], [1.9, -1.6]])
    surface = Surface(points, {"t": TaskData("margin", margins, np.array([50.0, 50.0]), 0.0)})
    mean, _ = surface.score(points)
    task = surface._tasks["t"]
    scale = (
        task.scale
        * np.sqrt(task.posterior.variance * (task.posterior.spread(points) + task.posterior.noise))[
            :, None
        ]
    )
    expected = norm.cdf((task.mean + task.scale * task.posterior.mean(points)) / scale).mean(1)
    np.testing.assert_allclose(mean, 100 * expected)
    assert np.all((mean > 40) & (mean < 60))


def test_references_of_generated_answers_are_calibrated_on_what_was_right():
    draw = np.random.default_rng(4)
    likelihood = draw.normal(-2, 2, (30, 40))
    right = draw.random((30, 40)) < 1 / (1 + np.exp(-(likelihood + 2) * 2))
    records = [
        ItemScores(float(100 * v.mean()), [f"g/{i}" for i in range(40)], v.astype(np.float32),
                   ll[:, None].astype(np.float32), np.zeros(40, np.int16))
        for ll, v in zip(likelihood, right, strict=True)
    ]  # fmt: skip
    data = task_data(records)
    assert data.kind == "reference"
    assert -data.intercept / data.slope == pytest.approx(-2, abs=0.15)  # half are right here
    assert data.slope == pytest.approx(2 / 1.702, rel=0.15)


def test_surface_predicts_untried_points_better_than_the_scores_alone():
    points, seen = world(40)
    score = 100.0 * (seen > 0).mean(1)
    items = Surface(points, margin_task(seen))
    total = Surface(points, {"t": TaskData("total", score[:, None], np.ones(1), 0.0)})
    new = np.random.default_rng(6).random((300, 4))
    errors = [np.sqrt(((s.score(new)[0] - truth(new)) ** 2).mean()) for s in (items, total)]
    assert errors[0] < 2.0
    assert errors[0] < 0.6 * errors[1]


def test_uncertainty_is_about_right():
    points, seen = world(25)
    surface = Surface(points, margin_task(seen))
    new = np.random.default_rng(7).random((500, 4))
    mean, spread = surface.score(new)
    z = (truth(new) - mean) / np.sqrt(spread**2 + 1)  # one point for items at the brink
    assert 0.5 < z.std() < 2


def test_proposals_lead_to_the_peak():
    points, seen = world(12)
    for step in range(12):
        surface = Surface(points, margin_task(seen))
        point = propose(surface, SETTINGS, np.random.default_rng(step), np.zeros((0, 4)))
        points, seen = np.vstack([points, point]), np.vstack([seen, margins_at(point)])
    best = points[Surface(points, margin_task(seen)).recommend()]
    assert truth(best)[0] > truth(np.random.default_rng(8).random((24, 4))).max()
    assert truth(best)[0] > truth(PEAK)[0] - 1.5


@pytest.mark.parametrize("acquisition", ["improvement", "optimism", "thompson"])
def test_a_proposal_at_100_trials_and_300_items_takes_well_under_a_second(acquisition):
    points, seen = world(100)
    tasks = {name: TaskData("margin", seen + 0.01 * k, np.full(100, 1.0), 0.0)
             for k, name in enumerate("abc")}  # fmt: skip
    settings = SETTINGS.model_copy(update={"acquisition": acquisition})
    propose(Surface(points, tasks), settings, np.random.default_rng(0), np.zeros((0, 4)))
    begun = time.process_time()
    point = propose(Surface(points, tasks), settings, np.random.default_rng(0), np.zeros((0, 4)))
    assert time.process_time() - begun < 1.0  # measured 0.2 CPU seconds on a quiet core
    assert np.all((point >= 0) & (point <= 1))


def test_a_surface_of_one_constant_task_is_flat():
    surface = Surface(np.eye(3), {"t": TaskData("total", np.full((3, 1), 40.0), np.ones(1), 0.0)})
    assert surface.score(np.full((1, 3), 0.5))[0] == pytest.approx(40.0, abs=1e-3)


def test_task_weights_choose_the_objective():
    draw = np.random.default_rng(9)
    points = draw.random((20, 2))
    tasks = {name: TaskData("total", points[:, [k]] * 100, np.ones(1), 0.0)
             for k, name in enumerate("ab")}  # fmt: skip
    here = np.array([[0.9, 0.2]])
    assert Surface(points, tasks).score(here)[0] == pytest.approx(55, abs=2)
    assert Surface(points, tasks, {"a": 1.0}).score(here)[0] == pytest.approx(90, abs=2)
    assert Surface(points, tasks, {"a": 1.0, "b": 3.0}).score(here)[0] == pytest.approx(37.5, abs=2)
