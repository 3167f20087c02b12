"""The models and rows of one scale."""

import csv
from pathlib import Path

import pytest

from optimer import experiment, planning
from optimer.errors import ParamsError
from optimer.params import load

ROOT = Path(__file__).parents[2]
PAPER = load(ROOT / "params.yaml", "paper")
TINY = load(ROOT / "params.yaml", "tiny")


def test_table_1_has_the_papers_28_rows_and_names():
    with (ROOT / "optimer" / "report" / "paper_table1.csv").open() as table:
        paper = [(row["combination"], row["method"]) for row in csv.DictReader(table)]
    assert len(paper) == 28
    assert [(row.combination, row.method) for row in experiment.rows(PAPER)] == paper


def test_uniform_rows_weigh_the_it_vector_like_the_others():
    row = experiment.row(PAPER, "ja_zh_math_ties")
    assert row.vectors == ("it", "cpt_ja", "cpt_zh", "cpt_math")
    assert row.weights == (0.25, 0.25, 0.25, 0.25)


def test_ratio_models_come_after_the_search():
    ratio = experiment.model(PAPER, "ratio_ja_math")
    assert ratio.combination == "ja_math"
    assert ratio.datasets == ("ja", "math")
    assert "ratio_ja_math" not in experiment.vectors(PAPER)


def test_only_the_toy_family_trains_its_base():
    assert experiment.model(TINY, "base").kind == "pretrain"
    assert experiment.model(TINY, "it").parent == "base"
    assert not experiment.model(PAPER, "base").trained


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ParamsError, match="'cpt_xx' is not a model of scale paper; known: base"):
        experiment.model(PAPER, "cpt_xx")
    with pytest.raises(ParamsError, match="'nope' is not a row of Table 1; known: base_pt"):
        experiment.row(PAPER, "nope")


def test_plan_of_the_paper():
    plan = planning.plan(PAPER)
    # 5 CPT runs of 1B, DataMix and ratio runs of 2B, 2B and 3B tokens each.
    assert plan.tokens_trained == 19_000_000_000
    # 6 · 27.4e9 · 19e9 / 88.5e12 / 3600 s
    assert plan.train_device_hours == pytest.approx(9816, rel=1e-3)
    assert plan.search_device_hours == pytest.approx(3 * 100 * 41 / 60)
    assert plan.disk_gb["models"] == pytest.approx(13 * 54.86, rel=1e-3)
