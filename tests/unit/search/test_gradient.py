"""Gradient of expected accuracy: against finite differences, the scorer, and made-up hills."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from optimer.errors import SearchError
from optimer.evaluation.harness import Harness
from optimer.merging.pool import Pool
from optimer.merging.recipe import recipe
from optimer.paths import Paths
from optimer.search.answers import batches, log_likelihoods, questions, share_of
from optimer.search.api import default_settings
from optimer.search.engines.huggingface import HuggingFaceEngine
from optimer.search.gradient import (
    ascend,
    by_group,
    check_differentiable,
    cost,
    expected_accuracy,
    where_wanted,
)
from optimer.search.gradient import of_engine as gradient_of
from optimer.search.groups import GROUPS, group_of, grouped_recipe, n_layers, third_of
from optimer.vectors.extract import extract
from tests.unit.evaluation.toy import make_model, make_params, make_tokenizer, write_tasks

WEIGHTS = {"it": 0.7, "cpt_ja": 0.4}
TASKS = ("capitals", "letters", "echo")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Folders of a base, two vectors, and a harness over three tasks."""
    root = tmp_path_factory.mktemp("gradient")
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    paths = Paths("tiny")
    write_tasks(paths.tasks)
    tokenizer = make_tokenizer(paths.world / "tokenizer")
    base = make_model(tokenizer)
    for seed, name in enumerate(("base", *WEIGHTS)):
        model = make_model(tokenizer)
        draw = torch.Generator().manual_seed(seed)
        for key, parameter in model.named_parameters():
            if name != "base" and "embed" not in key:
                parameter.data += 0.05 * torch.randn(parameter.shape, generator=draw)
        model.save_pretrained(paths.model(name))
        tokenizer.save_pretrained(paths.model(name))
        if name != "base":
            extract(paths.model("base"), paths.model(name), paths.vector(name), name)
    del base
    harness = Harness(make_params(), paths, tokenizer, TASKS, ("search",))
    yield paths, harness
    patch.undo()


def engine_of(world, method="dare_linear", density=0.7) -> HuggingFaceEngine:
    paths, harness = world
    vectors = {name: paths.vector(name) for name in WEIGHTS}
    pool = Pool.open(paths.model("base"), vectors, method, density, seed=3)
    return HuggingFaceEngine(pool, harness, paths.model("base"), paths.model("it"), "float32")


@pytest.mark.parametrize("method, density", [("task_arithmetic", 1.0), ("dare_linear", 0.7)])
def test_gradient_equals_finite_differences(world, method, density):
    engine = engine_of(world, method, density)
    value, slope = expected_accuracy(engine, WEIGHTS)
    assert 0 < value < 100
    assert list(slope) == list(WEIGHTS)
    for name in WEIGHTS:
        up, down = (
            expected_accuracy(engine, {**WEIGHTS, name: WEIGHTS[name] + step})[0]
            for step in (0.004, -0.004)
        )
        assert slope[name] == pytest.approx((up - down) / 0.008, rel=0.02, abs=0.02), name


def test_groups_add_up_and_each_is_a_derivative(world):
    engine = engine_of(world)
    found = questions(engine.harness, "search")
    engine.compose(WEIGHTS)
    _, groups = by_group(engine.pool, engine.backend.model, found, 7)
    _, slope = expected_accuracy(engine, WEIGHTS)
    for name, parts in groups.items():
        assert set(parts) == {"early_attention", "early_mlp", "late_attention", "late_mlp", "other"}
        assert sum(parts.values()) == pytest.approx(slope[name])
    # move one vector's late MLP alone and look at J
    parameters = dict(engine.backend.model.named_parameters())
    step, values = 0.01, []
    for sign in (1, -1):
        engine.compose(WEIGHTS)
        with torch.no_grad():
            for key, parameter in parameters.items():
                if group_of(key, 2) == "late_mlp":
                    delta, scale = engine.pool.sources(key)[1]
                    part = torch.empty(parameter.numel())
                    delta.fill(part, 0, parameter.numel())
                    parameter += sign * step * scale * part.view_as(parameter)
        values.append(by_group(engine.pool, engine.backend.model, found, 7)[0])
    expected = (values[0] - values[1]) / (2 * step)
    assert groups["cpt_ja"]["late_mlp"] == pytest.approx(expected, rel=0.03, abs=0.02)


def test_likelihoods_are_the_scorers(world):
    """Teacher-forced choices have the log-likelihoods that decide the score."""
    engine = engine_of(world)
    engine.compose(WEIGHTS)
    scored = engine.score("search")
    found = {}
    with torch.no_grad():
        for batch in batches(questions(engine.harness, "search"), 5):
            for question, values in zip(
                batch, log_likelihoods(engine.backend.model, batch), strict=True
            ):
                found[question.id] = (question, values)
    for task in ("capitals", "letters"):
        record = scored[task]
        assert record.choices is not None and record.gold is not None
        for place, key in enumerate(record.ids):
            right = record.gold[place]
            order = [right, *(c for c in range(4) if c != right)]
            np.testing.assert_allclose(found[key][1], record.choices[place][order], atol=1e-3)
    # a generated answer's reference ends with the stop string
    text = engine.harness.tokenizer.decode(
        found["echo/" + scored["echo"].ids[0][5:]][0].answers[0].tokens
    )
    assert text.endswith("\n")


def test_parameters_are_left_as_they_were(world):
    engine = engine_of(world)
    before = engine.compose(WEIGHTS)
    model = engine.backend.model
    asked = {name: p.requires_grad for name, p in model.named_parameters()}
    expected_accuracy(engine, WEIGHTS)
    assert engine.compose(WEIGHTS) == before
    assert all(p.grad is None for p in model.parameters())
    assert {name: p.requires_grad for name, p in model.named_parameters()} == asked


def test_turns_go_through_all_items(world):
    found = questions(world[1], "search")
    per_task = {task: sum(q.task == task for q in found) for task in TASKS}
    assert set(per_task.values()) == {6}
    seen = {q.id for turn in range(3) for q in share_of(found, 1 / 3, turn)}
    assert seen == {q.id for q in found}
    assert [len(share_of(found, 1 / 3, turn)) for turn in range(3)] == [6, 6, 6]


def test_sign_election_and_other_engines_are_refused(world):
    for method in ("ties", "dare_ties"):
        with pytest.raises(SearchError, match=f"method {method} elects signs.*dare_linear"):
            expected_accuracy(engine_of(world, method, 0.5), WEIGHTS)

    class Served:
        pool = engine_of(world).pool
        backend = None

    with pytest.raises(SearchError, match="Served cannot differentiate.*backend: hf"):
        check_differentiable(Served.pool, Served())
    with pytest.raises(SearchError, match="Served cannot differentiate"):
        where_wanted(Served(), default_settings(sampler="gradient"))
    assert where_wanted(Served(), default_settings()) is None


def test_ascent_raises_expected_accuracy(world):
    engine = engine_of(world)
    settings = default_settings(gradient={"steps": 12, "share": 1.0}).gradient
    bounds = {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0)}
    found = ascend(gradient_of(engine, settings), bounds, settings)
    assert found.path[0][0] == {"it": 0.6, "cpt_ja": 0.2}
    assert expected_accuracy(engine, found.weights)[0] > found.path[0][1]
    for name, (low, high) in bounds.items():
        assert low <= found.weights[name] <= high


def hill(weights, step):
    peak = {"it": 0.9, "cpt_ja": 0.5}
    value = 50 - 10 * sum((weights[k] - peak[k]) ** 2 for k in peak)
    return value, {k: -20 * (weights[k] - peak[k]) for k in peak}


def test_ascent_finds_a_hill_and_stays_in_bounds():
    settings = default_settings(gradient={"steps": 40, "rate": 0.05}).gradient
    inside = ascend(hill, {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0)}, settings).weights
    assert inside == pytest.approx({"it": 0.9, "cpt_ja": 0.5}, abs=0.03)
    edge = ascend(hill, {"it": (0.3, 0.7), "cpt_ja": (0.0, 1.0)}, settings).weights
    assert edge["it"] == 0.7
    first = ascend(hill, {"it": (0.3, 1.0), "cpt_ja": (0.0, 1.0)},
                   default_settings(gradient={"steps": 1, "rate": 0.05}).gradient)  # fmt: skip
    assert first.weights == pytest.approx({"it": 0.65, "cpt_ja": 0.25})  # Adam's first step: rate


def test_a_gradient_that_is_not_finite_stops_with_a_reason():
    settings = default_settings().gradient
    with pytest.raises(SearchError, match="not finite; check the vectors for NaN"):
        ascend(lambda w, s: (1.0, {"it": float("nan")}), {"it": (0.3, 1.0)}, settings)


def test_cost_counts_three_forwards_a_step():
    assert cost(default_settings(gradient={"steps": 10, "share": 0.2}).gradient) == pytest.approx(6)


def test_groups_of_tensors():
    assert [third_of(layer, 6) for layer in range(6)] == [
        "early", "early", "middle", "middle", "late", "late",
    ]  # fmt: skip
    assert [third_of(layer, 2) for layer in range(2)] == ["early", "late"]
    assert group_of("model.layers.4.self_attn.q_proj.weight", 6) == "late_attention"
    assert group_of("model.layers.2.mlp.up_proj.weight", 6) == "middle_mlp"
    assert group_of("model.layers.2.input_layernorm.weight", 6) == "other"
    assert group_of("model.norm.weight", 6) == "other"
    assert n_layers(["model.norm.weight", "model.layers.11.mlp.up_proj.weight"]) == 12


def test_grouped_recipe_gives_mergekit_each_tensors_weight(world):
    from mergekit.config import MergeConfiguration, evaluate_setting

    engine = engine_of(world)
    weights = {name: {group: 0.01 * k + place for k, group in enumerate(GROUPS)}
               for place, name in enumerate(WEIGHTS)}  # fmt: skip
    made = grouped_recipe(recipe(engine.pool, WEIGHTS), list(WEIGHTS), weights, 2)
    config = MergeConfiguration.model_validate(made)
    assert config.models is not None
    for place, name in enumerate(WEIGHTS):
        setting = config.models[place].parameters["weight"]
        for key in dict(engine.backend.model.named_parameters()):
            expected = 0.0 if "embed" in key else weights[name][group_of(key, 2)]
            assert evaluate_setting(key, setting, validate=float) == expected, key
    with pytest.raises(SearchError, match="weights of it by group of layers: late_mlp is missing"):
        short = {**weights, "it": {g: 1.0 for g in GROUPS if g != "late_mlp"}}
        grouped_recipe(recipe(engine.pool, WEIGHTS), list(WEIGHTS), short, 2)
