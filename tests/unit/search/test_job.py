"""One combination end to end on pico models: vectors, search, exports, merged row, scores."""

from __future__ import annotations

import csv
import gzip
import json
import shutil

import pytest
import torch
import yaml

from optimer import receipts
from optimer.errors import ArtifactError, EvaluationError, SearchError
from optimer.evaluation.rows import score_rows
from optimer.experiment import row, search_pool
from optimer.merging.compose import compose
from optimer.merging.pool import Pool
from optimer.merging.write import write_merged
from optimer.paths import Paths
from optimer.search.job import search_combination
from optimer.vectors.extract import extract
from tests.unit.evaluation.toy import make_model, make_params, make_tokenizer, write_tasks

MODELS = ("base", "it", "cpt_ja", "cpt_math")


def save(paths, name, model, tokenizer):
    folder = paths.model(name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    files = [file for file in folder.iterdir() if file.is_file()]
    receipts.write(paths.model_receipt(name), {"files": receipts.hash_files(files, folder)})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(params, paths) with a base, an IT and two CPT models, and their vectors."""
    root = tmp_path_factory.mktemp("world")
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    paths = Paths("tiny")
    write_tasks(paths.tasks)
    tokenizer = make_tokenizer(paths.world / "tokenizer")
    base = make_model(tokenizer)
    save(paths, "base", base, tokenizer)
    for seed, name in enumerate(MODELS[1:]):
        model = make_model(tokenizer)
        draw = torch.Generator().manual_seed(seed)
        for key, parameter in model.named_parameters():
            if "embed" not in key:
                parameter.data += 0.1 * torch.randn(parameter.shape, generator=draw)
        save(paths, name, model, tokenizer)
        made = extract(paths.model("base"), paths.model(name), paths.vector(name), name)
        receipts.write(paths.vector_receipt(name), made)
    document = make_params().model_dump()
    document["search"].update(trials=12, batch=4, top_k=2)
    document["search"]["tpe"]["n_startup_trials"] = 4
    yield type(make_params()).model_validate(document), paths
    patch.undo()


@pytest.fixture(scope="module")
def found(world):
    said: list[str] = []
    return search_combination(*world, "ja_math", said.append), said


def merge_winner(params, paths, weights):
    chosen = row(params, "ja_math_optimer")
    vectors = {name: paths.vector(name) for name in chosen.vectors}
    density = params.merge.density["dare_linear"]
    pool = Pool.open(paths.model("base"), vectors, "dare_linear", density, params.seed)
    made = write_merged(pool, weights, paths.merged(chosen.id), paths.model("it"))
    receipts.write(paths.merged_receipt(chosen.id), made)
    return pool


def test_trials_table(world, found):
    _, paths = world
    result, said = found
    lines = list(csv.DictReader(paths.trials("ja_math").open()))
    assert [int(line["number"]) for line in lines] == list(range(12))
    assert list(lines[0]) == [
        "number", "batch", "phase", "rerank_score", "w_it", "w_cpt_ja", "w_cpt_math", "score",
        "capitals", "echo", "seconds_compose", "seconds_score", "checksum", "state", "reason",
    ]  # fmt: skip
    assert {(line["state"], line["reason"]) for line in lines} == {("complete", "")}
    for line, trial in zip(lines, result.trials, strict=True):
        mean = (float(line["capitals"]) + float(line["echo"])) / 2
        assert float(line["score"]) == pytest.approx(mean, abs=1e-3)
        assert float(line["w_it"]) == trial.weights["it"]
        assert float(line["seconds_score"]) > 0
    assert sum(line["rerank_score"] != "" for line in lines) == 2
    assert len({line["checksum"] for line in lines}) == 12
    assert len({line["capitals"] for line in lines}) > 1  # weights matter
    assert sum("trial" in line for line in said) >= 12


def test_a_second_call_only_reranks(world, found):
    said: list[str] = []
    again = search_combination(*world, "ja_math", said.append)
    assert not any(line.startswith("trial ") for line in said)
    assert again.best == found[0].best or again.best.weights == found[0].best.weights


def test_best_and_recipe(world, found):
    params, paths = world
    best = yaml.safe_load(paths.best("ja_math").read_text())
    assert best["weights"] == found[0].best.weights
    assert list(best["weights"]) == list(search_pool(params, "ja_math"))
    assert sum(best["ratios"].values()) == pytest.approx(1)
    assert set(best["ratios"]) == {"ja", "math"}
    recipe = yaml.safe_load(paths.recipe("ja_math").read_text())
    assert recipe["merge_method"] == "dare_linear"
    assert len(recipe["models"]) == 3


def test_the_scored_model_is_the_shipped_model(world, found):
    params, paths = world
    best = found[0].best
    pool = merge_winner(params, paths, best.weights)
    score_rows(params, paths, ["base_pt", "ja_math_optimer"], lambda line: None)
    document = json.loads(paths.scores("ja_math_optimer").read_text())
    assert document["checksum"] == best.rerank.checksum
    assert document["weights"] == best.weights
    assert set(document["columns"]) == {"capitals", "letters", "echo", "both"}
    means = [column["score"] for column in document["columns"].values()]
    assert document["avg"] == pytest.approx(sum(means) / 4, abs=1e-3)
    assert document["avg_low"] < document["avg"] < document["avg_high"]
    assert document["tasks"]["echo"]["n_shots"] == 0
    assert document["bos"] and document["first_prompt_ids"]["echo"][0] == 0
    with gzip.open(paths.samples("ja_math_optimer") / "echo.jsonl.gz", "rt") as file:
        logged = [json.loads(line) for line in file]
    assert len(logged) == document["tasks"]["echo"]["n"] == 24
    share = 100 * sum(item["value"] for item in logged) / 24
    assert share == pytest.approx(document["columns"]["echo"]["score"], abs=1e-3)
    assert dict(compose(pool, best.weights)).keys()  # the pool composes what was written


def test_another_model_than_the_winner_is_refused(world, found):
    params, paths = world
    other = {name: weight * 0.9 for name, weight in found[0].best.weights.items()}
    merge_winner(params, paths, other)
    with pytest.raises(ArtifactError, match=r"are not those the search scored.*merge run"):
        score_rows(params, paths, ["ja_math_optimer"], lambda line: None)
    merge_winner(params, paths, found[0].best.weights)
    weights = paths.merged("ja_math_optimer") / "model.safetensors"
    shutil.copy(paths.model("base") / "model.safetensors", weights)
    with pytest.raises(ArtifactError, match="not the file that .* describes"):
        score_rows(params, paths, ["ja_math_optimer"], lambda line: None)


def test_missing_vector_model_and_mixture_are_named(world, tmp_path):
    params, paths = world
    with pytest.raises(ArtifactError, match=r"vectors/cpt_code.json: no such receipt"):
        search_combination(params, paths, "ja_code", lambda line: None)
    with pytest.raises(ArtifactError, match=r"merged/single_ja.json: no such receipt"):
        score_rows(params, paths, ["single_ja"], lambda line: None)
    document = params.model_dump()
    document["search"]["bounds_dataset"] = [-1.0, -0.5]
    with pytest.raises(SearchError, match="a mixture needs at least one positive dataset weight"):
        search_combination(type(params).model_validate(document), paths, "ja_math", print)


def test_vllm_backend_says_how_to_install_it(world):
    params, paths = world
    document = params.model_dump()
    document["benchmark"]["backend"] = "vllm"
    changed = type(params).model_validate(document)
    with pytest.raises(EvaluationError, match="vLLM is not installed here; `make setup-vllm`"):
        score_rows(changed, paths, ["base_pt"], lambda line: None)
    with pytest.raises(EvaluationError, match="one row a call"):
        score_rows(changed, paths, ["base_pt", "base_it"], lambda line: None)
