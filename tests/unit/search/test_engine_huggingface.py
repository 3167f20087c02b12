"""The Hugging Face engine: what is scored is what weights say, whatever was scored before."""

from __future__ import annotations

import random

import pytest
import torch

from optimer.evaluation.folder import load_model
from optimer.evaluation.harness import Harness
from optimer.evaluation.itemscores import item_scores
from optimer.merging.pool import Pool
from optimer.merging.write import write_merged
from optimer.paths import Paths
from optimer.search.engines.huggingface import HuggingFaceEngine
from optimer.vectors.extract import extract
from tests.unit.evaluation.toy import make_model, make_params, make_tokenizer, write_tasks

VECTORS = ("it", "cpt_ja", "cpt_math")
WEIGHTS = {"it": 0.7, "cpt_ja": 0.4, "cpt_math": -0.2}


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def world(request, tmp_path_factory):
    """(params, paths, harness, dtype) with a base, three trained models and their vectors."""
    root = tmp_path_factory.mktemp("engine")
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    paths = Paths("tiny")
    write_tasks(paths.tasks)
    tokenizer = make_tokenizer(paths.world / "tokenizer")
    for seed, name in enumerate(("base", *VECTORS)):
        model = make_model(tokenizer)
        draw = torch.Generator().manual_seed(seed)
        for key, parameter in model.named_parameters():
            if seed and "embed" not in key:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=draw)
        model.to(getattr(torch, request.param)).save_pretrained(paths.model(name))
        tokenizer.save_pretrained(paths.model(name))
        if seed:
            extract(paths.model("base"), paths.model(name), paths.vector(name), name)
    params = make_params()
    harness = Harness(params, paths, tokenizer, ["capitals", "echo"], ("search",))
    yield params, paths, harness, request.param
    patch.undo()


def open_engine(world, density=0.6, method="dare_linear"):
    _, paths, harness, dtype = world
    vectors = {name: paths.vector(name) for name in VECTORS}
    pool = Pool.open(paths.model("base"), vectors, method, density, 0)
    return HuggingFaceEngine(pool, harness, paths.model("base"), paths.model("it"), dtype)


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[0, 40, 41, 42, 43, 44, 45]])).logits


def one_hot(chosen):
    return {name: float(name == chosen) for name in VECTORS}


def test_one_hot_weights_are_the_source_models(world):
    _, paths, _, dtype = world
    engine = open_engine(world, density=1.0)
    for name in (*VECTORS, "base"):  # no vector is called base: all weights zero
        engine.compose(one_hot(name))
        source = load_model(paths.model(name), dtype)
        if dtype == "bfloat16":
            assert torch.equal(logits(engine.backend.model), logits(source))
        else:  # fl(θ_0 + fl(θ − θ_0)) is θ up to its last bit
            torch.testing.assert_close(logits(engine.backend.model), logits(source))


def test_trials_in_any_order_leave_the_same_weights(world):
    trials = [{name: 0.2 * i + 0.1 * j for j, name in enumerate(VECTORS)} for i in range(5)]
    engine = open_engine(world)
    places = [p.data_ptr() for p in engine.backend.model.parameters()]
    first = [engine.compose(trial) for trial in trials]
    order = random.Random(3).sample(range(5), 5)
    again = {i: engine.compose(trials[i]) for i in order}
    assert [again[i] for i in range(5)] == first
    assert [open_engine(world).compose(trials[4])] == first[4:]
    assert len(set(first)) == 5
    assert [p.data_ptr() for p in engine.backend.model.parameters()] == places


@pytest.mark.parametrize("method", ["dare_linear", "ties"])
def test_answers_are_those_of_a_cold_start_on_the_exported_merge(world, tmp_path, method):
    _, paths, harness, dtype = world
    engine = open_engine(world, method=method)
    for trial in (dict.fromkeys(VECTORS, 1.0), WEIGHTS):
        digest = engine.compose(trial)
    live = harness.score(engine.backend, "search")
    receipt = write_merged(engine.pool, WEIGHTS, tmp_path / "merged", paths.model("it"))
    assert receipt["checksum"] == digest
    cold = load_model(tmp_path / "merged", dtype, generation_from=paths.model("it"))
    assert torch.equal(logits(cold), logits(engine.backend.model))
    scored = harness.score(cold, "search")
    assert set(scored) == {"capitals", "echo"}
    for name, score in scored.items():
        for mine, theirs in zip(live[name].samples, score.samples, strict=True):
            assert mine["answers"] == theirs["answers"]
        assert item_scores(live[name]).percent == item_scores(score).percent
