"""params.yaml: every scale loads, and every mistake gets its own words."""

import copy
from pathlib import Path

import pytest
import yaml

from optimer import params
from optimer.errors import ParamsError

ROOT = Path(__file__).parents[2]
DOCUMENT = yaml.safe_load((ROOT / "params.yaml").read_text())


def load_with(tmp_path, change, scale="tiny"):
    document = copy.deepcopy(DOCUMENT)
    change(document)
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True))
    return params.load(path, scale)


@pytest.mark.parametrize("scale", ["tiny", "small", "paper"])
def test_every_scale_loads(scale):
    assert params.load(ROOT / "params.yaml", scale).scale == scale


def test_the_base_document_is_the_paper():
    assert DOCUMENT["scales"]["paper"] == {}
    paper = params.load(ROOT / "params.yaml", "paper")
    assert paper.train.learning_rate == 4e-5
    assert paper.corpus.token_budget == 1_000_000_000
    assert (paper.search.trials, paper.search.tpe.n_startup_trials) == (100, 20)
    assert paper.search.bounds_it == [0.3, 1.0]
    assert paper.train.accumulation == 8


def test_misspelt_key_in_an_overlay(tmp_path):
    def change(document):
        document["scales"]["tiny"]["search"] = {"trails": 4}

    with pytest.raises(ParamsError, match=r'search\.trails: unknown key; did you mean "trials"\?'):
        load_with(tmp_path, change)


def test_misspelt_key_in_the_base_document(tmp_path):
    def change(document):
        document["search"]["trails"] = document["search"].pop("trials")

    with pytest.raises(ParamsError) as caught:
        load_with(tmp_path, change, "paper")
    assert 'search.trails  unknown key; did you mean "trials"?' in str(caught.value)
    assert "search.trials  required key is missing" in str(caught.value)


def test_a_broken_scale_is_found_from_another_scale(tmp_path):
    def change(document):
        document["search"]["trials"] = 0

    with pytest.raises(ParamsError, match=r"scale paper\).*\n.*search.trials  .*got 0"):
        load_with(tmp_path, change, "tiny")


@pytest.mark.parametrize(
    ("section", "key", "value", "text"),
    [
        ("search", "bounds_it", [1.0, 0.3], "bounds_it must satisfy -2 <= low < high <= 2"),
        ("search", "top_k", 1000, "top_k must not exceed trials"),
        ("train", "batch_size", 100, "batch_size must be a multiple of micro_batch_size x devices"),
        ("benchmark", "split", {"search": 0.5, "rerank": 0.5, "report": 0.5}, "must not exceed 1"),
        ("train", "learning_rate", -1.0, "greater than 0, got -1.0"),
        ("merge", "density", {"dare_linear": 0, "dare_ties": 0.9, "ties": 1}, r"in \(0, 1\]"),
    ],
)
def test_values_out_of_bounds(tmp_path, section, key, value, text):
    def change(document):
        document[section][key] = value

    with pytest.raises(ParamsError, match=text):
        load_with(tmp_path, change, "paper")


def test_a_combination_needs_known_datasets(tmp_path):
    def change(document):
        document["combinations"]["ja_math"]["datasets"] = ["ja", "maths"]

    with pytest.raises(ParamsError, match="'maths' is not in corpus.datasets"):
        load_with(tmp_path, change, "paper")


def test_a_proxy_needs_a_column(tmp_path):
    def change(document):
        document["combinations"]["ja_math"]["proxies"] = ["gsm9k"]

    with pytest.raises(ParamsError, match="'gsm9k' is in no column"):
        load_with(tmp_path, change, "paper")


def test_unknown_scale_and_override():
    with pytest.raises(ParamsError, match=r'got \'tinny\'; did you mean "tiny"\?'):
        params.load(ROOT / "params.yaml", "tinny")
    with pytest.raises(ParamsError, match="only `scale` and `seed` can be overridden"):
        params.load(ROOT / "params.yaml", overrides={"trials": 3})


def test_the_world_cannot_be_used_without_a_world(tmp_path):
    def change(document):
        document["model"]["base"] = "world"

    with pytest.raises(ParamsError, match="this scale has no `world` section"):
        load_with(tmp_path, change, "paper")


def test_merge_is_deep_and_replaces_lists():
    base = {"a": {"b": [1, 2], "c": 3}, "d": 4}
    assert params.merge(base, {"a": {"b": [9]}}) == {"a": {"b": [9], "c": 3}, "d": 4}
    assert base["a"]["b"] == [1, 2]


def test_provenance_names_the_document_of_each_value():
    rows = {key: origin for key, _, origin in params.provenance(ROOT / "params.yaml", "tiny")}
    assert rows["train.learning_rate"] == "scales.tiny"
    assert rows["train.beta1"] == "base"
